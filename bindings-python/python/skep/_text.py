"""Bytes and text, as subprocess has them."""

from __future__ import annotations

import codecs
import io
from dataclasses import dataclass
from typing import IO, Any

from skep._errors import InvalidInputError


@dataclass(frozen=True)
class Codec:
    """How a container's bytes are text; `encoding` None is the locale's."""

    encoding: str | None
    errors: str | None

    @staticmethod
    def of(text: bool | None, encoding: str | None, errors: str | None) -> Codec | None:
        """None for bytes: without any of the three arguments.

        Raises LookupError for names that there are not, before anything is started.
        """
        if not (text or encoding or errors):
            return None
        codec = Codec(encoding, errors)
        codec.wrap(io.BytesIO())
        if errors is not None:
            codecs.lookup_error(errors)
        return codec

    def decode(self, data: bytes) -> str:
        """All of an output, its newlines as Python has them."""
        return self.wrap(io.BytesIO(data)).read()

    def encode(self, data: str) -> bytes:
        """All of an input."""
        file = io.BytesIO()
        text = self.wrap(file)
        text.write(data)
        text.flush()
        return file.getvalue()

    def wrap(self, file: IO[bytes]) -> io.TextIOWrapper:
        """A file of text over one of bytes, which is flushed at the end of each line."""
        return io.TextIOWrapper(file, self.encoding, self.errors, line_buffering=True)


def encode_input(input: Any, stdin: object, codec: Codec | None) -> bytes | None:
    """The bytes of `input`, which must be text if there is a codec."""
    if input is None:
        return None
    if stdin is not None:
        message = "cannot connect stdin: it is given beside input; give one of them"
        raise InvalidInputError(message, "connect", "stdin")
    if codec is None:
        return bytes(memoryview(input))
    if not isinstance(input, str):
        raise TypeError(f"in text mode, input must be str, not {type(input).__name__}")
    return codec.encode(input)
