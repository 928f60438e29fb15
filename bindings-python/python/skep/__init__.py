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
from skep._options import CommitOptions, Options
from skep._results import (
    Change,
    ChangeKind,
    CompletedContainer,
    Descriptor,
    DiskUsage,
    ExitReason,
    ExitStatus,
    HistoryStep,
    ImageSummary,
    ImageUsage,
    Pruned,
    PullProgress,
    Pushed,
    PushProgress,
    Usage,
)
from skep._skep import (
    Access,
    Cancel,
    Credentials,
    Image,
    Images,
    Mount,
    Policy,
    Registries,
    Root,
    Signed,
)

# Where they are to be imported from, for messages, documentation and pickles.
for _class in (Child, Engine, *Error.__subclasses__(), *ContainerError.__subclasses__()):
    _class.__module__ = __name__
for _class in (Error, CompletedContainer, ExitStatus, ImageSummary, Usage):
    _class.__module__ = __name__
for _class in (Change, Descriptor, DiskUsage, HistoryStep, ImageUsage):
    _class.__module__ = __name__
for _class in (Pruned, PullProgress, PushProgress):
    _class.__module__ = __name__
del _class

__all__ = [
    "DEVNULL",
    "PIPE",
    "Access",
    "AlreadyExistsError",
    "Cancel",
    "CancelledError",
    "Change",
    "ChangeKind",
    "Child",
    "CommitOptions",
    "CompletedContainer",
    "ContainerError",
    "Credentials",
    "Descriptor",
    "DigestMismatchError",
    "DiskUsage",
    "Engine",
    "Error",
    "ExitError",
    "ExitReason",
    "ExitStatus",
    "HistoryStep",
    "Image",
    "ImageSummary",
    "ImageUsage",
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
    "Policy",
    "Pruned",
    "PullProgress",
    "PushProgress",
    "Pushed",
    "Registries",
    "ResourceExhaustedError",
    "Root",
    "Signed",
    "TimeoutError",
    "UnsupportedError",
    "Usage",
]
