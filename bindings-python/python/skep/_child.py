"""A running container."""

from __future__ import annotations

import contextlib
import signal
import warnings
from typing import IO, TYPE_CHECKING, AnyStr, Generic, NoReturn, cast

from skep import _skep
from skep._errors import Error, TimeoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from skep._options import CommitOptions, StrPath
    from skep._results import Change, ExitStatus, Usage
    from skep._text import Codec


class BaseChild:
    """What a running container has in common for threads and for asyncio."""

    args: list[str]
    """The arguments that it was given."""

    def __init__(self, native: _skep.Child, args: Sequence[str] | None) -> None:
        self._native = native
        self.args = list(args or ())
        self._status: ExitStatus | None = None

    @property
    def id(self) -> str:
        """The container's id: 32 hexadecimal digits."""
        return self._native.id

    @property
    def status(self) -> ExitStatus | None:
        """How it ended, once `poll` or `wait` has found out."""
        return self._status

    @property
    def returncode(self) -> int | None:
        """The exit code or the negative signal, once `poll` or `wait` has found out."""
        return None if self._status is None else self._status.returncode

    def poll(self) -> ExitStatus | None:
        """How it ended, or None if it still runs. Does not wait."""
        if self._status is None:
            self._status = self._native.poll()
        return self._status

    def send_signal(self, signal: int) -> None:
        """Sends a signal to the container's command. One that has ended is left alone.

        The command is process 1 of its container: a signal that it has no handler for does nothing,
        except SIGKILL, which ends every process in the container.
        """
        self._native.send_signal(signal)

    def terminate(self) -> None:
        """Sends SIGTERM; see `stop`, which does not end there."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills everything in the container. `wait` tells of its end."""
        self.send_signal(signal.SIGKILL)

    def usage(self) -> Usage:
        """What the container has used so far; what it used in all once it was waited for."""
        return self._native.usage()

    def fileno(self) -> int:
        """A file descriptor that is readable once the container has ended, for `select`.

        Nothing is to be read from it, and it is not to be closed.
        """
        return self._native.fileno()

    def _expired(self, timeout: float | None) -> TimeoutError:
        subject = f"container {self.id}"
        text = f"cannot wait for {subject}: it still runs after {timeout} s"
        return TimeoutError(text, "wait for", subject)

    def __reduce__(self) -> NoReturn:
        # The end of a copy would kill the container.
        raise TypeError(f"cannot copy or pickle {self!r}")

    def __repr__(self) -> str:
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return f"<{name} {self.id[:12]} {self.status or 'running'}>"

    def __del__(self) -> None:
        # Without `_native`, the constructor has failed; an Error is that of a forked copy.
        with contextlib.suppress(AttributeError, Error):
            if self.poll() is not None:
                return
            try:
                text = f"container {self.id[:12]} is still running"
                warnings.warn(text, ResourceWarning, stacklevel=2, source=self)
            finally:
                # Whoever records warnings keeps their source, and would keep the container.
                self._native.close()


class Child(BaseChild, Generic[AnyStr]):
    """A running container, in the manner of `subprocess.Popen`.

    It is attached: to leave its `with` block kills it and removes what it has written, and so does
    the end of this program, however that ends. Any number of threads may wait for it and signal it
    at once.
    """

    stdin: IO[AnyStr] | None
    """The pipe into it, if `PIPE` was asked for."""
    stdout: IO[AnyStr] | None
    """The pipe out of it, likewise. Iterate over it for lines."""
    stderr: IO[AnyStr] | None
    """The pipe of its errors, likewise."""

    def __init__(
        self, native: _skep.Child, args: Sequence[str] | None, codec: Codec | None
    ) -> None:
        super().__init__(native, args)

        def opened(fd: int | None, mode: str) -> IO[AnyStr] | None:
            if fd is None:
                return None
            file = cast("IO[bytes]", open(fd, mode))
            return cast("IO[AnyStr]", codec.wrap(file) if codec else file)

        stdin, stdout, stderr = native.take_pipes()
        self.stdin = opened(stdin, "wb")
        self.stdout = opened(stdout, "rb")
        self.stderr = opened(stderr, "rb")

    def wait(self, timeout: float | None = None) -> ExitStatus:
        """Waits for the container's end. How it ended is never an exception here.

        Standard input is not closed: a command that reads it to its end wants `stdin.close()`.
        A signal's handler runs meanwhile; if it raises, as Ctrl-C does, the container runs on.

        `timeout`: seconds; raises `TimeoutError` if the container still runs then.
        """
        if self._status is None:
            self._status = self._native.wait(timeout)
        if self._status is None:
            raise self._expired(timeout)
        return self._status

    def stop(self, grace: float = 10.0) -> ExitStatus:
        """Asks the container to end with its stop signal (the image's, or SIGTERM), as docker does.

        `grace`: seconds after which it is killed.
        """
        _skep.check_seconds(grace)
        with contextlib.suppress(TimeoutError):
            self.send_signal(self._native.stop_signal)
            return self.wait(grace)
        self.kill()
        return self.wait()

    def commit(
        self,
        reference: str | None = None,
        *,
        cancel: _skep.Cancel | None = None,
        **options: Unpack[CommitOptions],
    ) -> _skep.Image:
        """Makes an image of the container's own and of what it has written, as docker commit does.

        It may run, have ended and not been waited for, or have been started with `keep_files`. One
        that runs is not stopped meanwhile.

        reference: the image's name; another image of that name loses it.
        author: who made it.
        comment, created_by: a line for its history, and the command that made it.
        time: seconds since 1970 or a `datetime` that all new files and the image bear: the same
            files are the same image then. The files' own times, and now, without.
        max_size: the most bytes, or "1g", that the new files may have in all.
        config: what a container of it runs, in the place of all that the former image says of that;
            as `inspect()["config"]["config"]`.

        Raises `InvalidInputError` if its root is no image, `InvalidStateError` if its files are
        gone, `ResourceExhaustedError` above `max_size`.
        """
        return self._native.commit(reference, cancel=cancel, **options)

    def diff(self, *, cancel: _skep.Cancel | None = None) -> list[Change]:
        """What the container has changed of its root, by path; when, as for `commit`."""
        return self._native.diff(cancel=cancel)

    def export(self, path: StrPath, *, cancel: _skep.Cancel | None = None) -> None:
        """Writes all files of the container's root as one tar archive; when, as for `commit`."""
        self._native.export(path, cancel=cancel)

    def close(self) -> None:
        """Kills the container if it still runs, removes what is left of it and closes its pipes."""
        self._native.close()
        for stream in (self.stdin, self.stdout, self.stderr):
            # What was written and not flushed has no reader any more.
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()
        with contextlib.suppress(Error):
            self.poll()

    def __enter__(self) -> Child[AnyStr]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
