r"""Containers inside your program, with subprocess's words.

>>> import skep
>>> with skep.Engine() as engine:
...     result = engine.run(skep.Root.host(), ["echo", "hello"], memory="64m", timeout=10)
...     print(result.returncode, result.stdout)
0 b'hello\n'

`Engine` opens a store, `Engine.images` loads what is to run, `Engine.run` runs a container to its
end and `Engine.spawn` starts one as a `Child`. What fails is an `Error`. `skep.aio` is the same for
asyncio.
"""

from subprocess import DEVNULL, PIPE

from skep._child import Child
from skep._engine import Engine
from skep._errors import (
    AlreadyExistsError,
    CancelledError,
    ContainerError,
    DigestMismatchError,
    Error,
    ExitError,
    InUseError,
    InvalidDataError,
    InvalidInputError,
    InvalidStateError,
    IoError,
    KeeperLostError,
    NotExecutableError,
    NotFoundError,
    OutOfMemoryError,
    PermissionDeniedError,
    ResourceExhaustedError,
    TimeoutError,
    UnsupportedError,
)
from skep._options import Options
from skep._results import CompletedContainer, ExitReason, ExitStatus, ImageSummary, Usage
from skep._skep import Image, Images, Mount, Root

# Where they are to be imported from, for messages, documentation and pickles.
for _class in (Child, Engine, *Error.__subclasses__(), *ContainerError.__subclasses__()):
    _class.__module__ = __name__
for _class in (Error, CompletedContainer, ExitStatus, ImageSummary, Usage):
    _class.__module__ = __name__
del _class

__all__ = [
    "DEVNULL",
    "PIPE",
    "AlreadyExistsError",
    "CancelledError",
    "Child",
    "CompletedContainer",
    "ContainerError",
    "DigestMismatchError",
    "Engine",
    "Error",
    "ExitError",
    "ExitReason",
    "ExitStatus",
    "Image",
    "ImageSummary",
    "Images",
    "InUseError",
    "InvalidDataError",
    "InvalidInputError",
    "InvalidStateError",
    "IoError",
    "KeeperLostError",
    "Mount",
    "NotExecutableError",
    "NotFoundError",
    "Options",
    "OutOfMemoryError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "Root",
    "TimeoutError",
    "UnsupportedError",
    "Usage",
]
