'use strict';

/** The one base class of what goes wrong. */
class SkepError extends Error {
  constructor({ kind, message, operation, subject, errno }) {
    super(message);
    this.code = `ERR_SKEP_${kind.replace(/\B[A-Z]/g, '_$&').toUpperCase()}`;
    this.kind = kind;
    this.operation = operation;
    this.subject = subject;
    if (errno != null) this.errno = errno;
  }
}

class NotFoundError extends SkepError {}
class AlreadyExistsError extends SkepError {}
class InvalidInputError extends SkepError {}
class InvalidDataError extends SkepError {}
class DigestMismatchError extends SkepError {}
class PermissionDeniedError extends SkepError {}
class UnsupportedError extends SkepError {}
class NotExecutableError extends SkepError {}
class InUseError extends SkepError {}
class InvalidStateError extends SkepError {}
class ResourceExhaustedError extends SkepError {}
class KeeperLostError extends SkepError {}
class IoError extends SkepError {}
class CancelledError extends SkepError {}

/** A run that did not end as it should. */
class RunError extends SkepError {
  constructor(failure) {
    super(failure);
    const { result } = failure;
    if (!result) return;
    const { status, stdout, stderr, usage } = result;
    Object.assign(this, { status, stdout, stderr, usage });
  }
}

class TimeoutError extends RunError {}
class OutOfMemoryError extends RunError {}
class ExitError extends RunError {}

/** By kind: core's, and two that are a run's. */
const KINDS = {
  NotFound: NotFoundError,
  AlreadyExists: AlreadyExistsError,
  InvalidInput: InvalidInputError,
  InvalidData: InvalidDataError,
  DigestMismatch: DigestMismatchError,
  PermissionDenied: PermissionDeniedError,
  Unsupported: UnsupportedError,
  NotExecutable: NotExecutableError,
  InUse: InUseError,
  InvalidState: InvalidStateError,
  TimedOut: TimeoutError,
  ResourceExhausted: ResourceExhaustedError,
  KeeperLost: KeeperLostError,
  Io: IoError,
  Cancelled: CancelledError,
  OutOfMemory: OutOfMemoryError,
  Exit: ExitError,
};

const classes = { SkepError, ...Object.fromEntries(Object.values(KINDS).map((c) => [c.name, c])) };
for (const [name, { prototype }] of Object.entries(classes)) {
  Object.defineProperty(prototype, 'name', { value: name, configurable: true, writable: true });
}

/** The error that `{ kind, message, ... }` stands for; native code throws such. */
function explain(failure) {
  // Napi's own are others.
  if (!Object.hasOwn(failure, 'kind')) return failure;
  const error = new (KINDS[failure.kind] ?? SkepError)(failure);
  Error.captureStackTrace(error, explain);
  return error;
}

/** Waits for a promise of native code. The error is made here for its stack to name the callers. */
async function settled(begin) {
  try {
    return await begin();
  } catch (failure) {
    throw explain(failure);
  }
}

/** An error that reads as core's do. */
function invalid(kind, operation, subject, cause, fix) {
  const message = `cannot ${operation} ${subject}: ${cause}${fix ? `; ${fix}` : ''}`;
  return explain({ kind, message, operation, subject });
}

const wrongInput = (...words) => invalid('InvalidInput', ...words);
const wrongState = (...words) => invalid('InvalidState', ...words);

/** The error that a run's result is, if it is one. */
function runError(result, image, check) {
  const { status } = result;
  const failure = (kind, fix = '') => {
    const message = `cannot run ${image}: ${status}${fix}`;
    return explain({ kind, message, operation: 'run', subject: String(image), result });
  };
  if (status.reason === 'timed_out') return failure('TimedOut', '; allow it a longer timeoutMs');
  if (status.reason === 'oom_killed') return failure('OutOfMemory', '; allow it more memory');
  return check && !status.success ? failure('Exit') : undefined;
}

/** What Node's own functions reject with when their signal is aborted. */
function abortError(signal) {
  const error = new Error('The operation was aborted', { cause: signal.reason });
  error.name = 'AbortError';
  error.code = 'ABORT_ERR';
  return error;
}

module.exports = { classes, explain, settled, wrongInput, wrongState, abortError, runError };
