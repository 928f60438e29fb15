// The classes are those of the CommonJS side: an instance is one on both.
import skep from './lib/index.js';

export const {
  Engine, Images, Image, Child, ExitStatus, Mount, Registries, Root,
  SkepError, NotFoundError, AlreadyExistsError, InvalidInputError, InvalidDataError,
  DigestMismatchError, PermissionDeniedError, UnsupportedError, NotExecutableError, InUseError,
  InvalidStateError, ResourceExhaustedError, KeeperLostError, IoError, CancelledError,
  TimeoutError, OutOfMemoryError, ExitError,
} = skep;
