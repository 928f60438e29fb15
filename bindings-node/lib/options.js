'use strict';

const { wrongInput } = require('./error');
const { Mount } = require('./mount');
const {
  STRING, STRINGS, BOOLEAN, NUMBER, SIZE, SIGNAL,
  isString, isObject, isNumber, isArrayOf, isInt32, checkOptions,
} = require('./check');

const ENVIRONMENT = {
  wanted: 'an object of strings',
  is: (value) =>
    isObject(value) && Object.values(value).every((v) => v === undefined || isString(v)),
  // As child_process: what is undefined is left out.
  convert: (value) => Object.entries(value).filter(([, v]) => v !== undefined),
};

const MOUNTS = {
  wanted: 'an array of Mount.bind(...) and Mount.tmpfs(...)',
  is: (value) => isArrayOf(value, (mount) => mount instanceof Mount),
};

const isLimit = (value) =>
  isNumber(value) || (isObject(value) && isNumber(value.soft) && isNumber(value.hard));

const RLIMITS = {
  wanted: 'an object of numbers, or of { soft, hard }, by resource',
  is: (value) => isObject(value) && Object.values(value).every(isLimit),
  convert: (value) =>
    Object.entries(value).map(([resource, limit]) => {
      const { soft, hard } = isNumber(limit) ? { soft: limit, hard: limit } : limit;
      return { resource, soft, hard };
    }),
};

const STREAM = {
  wanted: '"pipe", "inherit", "ignore", a file descriptor or an object that has one as fd',
  is: (value) =>
    ['pipe', 'inherit', 'ignore'].includes(value) ||
    isInt32(isObject(value) ? value.fd : value),
  convert: (value) => (isObject(value) ? value.fd : value),
};

const INPUT = {
  wanted: 'a string or a Uint8Array',
  is: (value) => isString(value) || value instanceof Uint8Array,
  convert: (value) =>
    isString(value)
      ? Buffer.from(value)
      : Buffer.from(value.buffer, value.byteOffset, value.byteLength),
};

const ENCODING = {
  wanted: '"buffer" or an encoding such as "utf8"',
  is: (value) => value === 'buffer' || Buffer.isEncoding(value),
};

const SHARED = {
  entrypoint: STRINGS,
  env: ENVIRONMENT,
  workingDir: STRING,
  user: STRING,
  hostname: STRING,
  mounts: MOUNTS,
  readOnly: BOOLEAN,
  allowNewPrivileges: BOOLEAN,
  rlimits: RLIMITS,
  memory: SIZE,
  memorySwap: SIZE,
  cpus: NUMBER,
  pids: NUMBER,
  timeoutMs: NUMBER,
  stdin: STREAM,
  stdout: STREAM,
  stderr: STREAM,
  signal: SIGNAL,
};

const SPAWN = { ...SHARED, keepFiles: BOOLEAN };
const RUN = { ...SHARED, input: INPUT, encoding: ENCODING, check: BOOLEAN };

/** What `run` is to do: `spec` is what native code takes. */
function runOptions(given) {
  const { signal, encoding = 'utf8', check = false, ...spec } = checkOptions(given, RUN);
  if (spec.input && spec.stdin !== undefined && spec.stdin !== 'pipe') {
    throw wrongInput('use', 'option "input"', 'stdin is not a pipe', 'leave out one of them');
  }
  return { spec: { __proto__: null, ...spec }, signal, encoding, check };
}

/** As `runOptions`, for `spawn`: all streams are pipes by default, as child_process has it. */
function spawnOptions(given) {
  const { signal, ...spec } = checkOptions(given, SPAWN);
  const streams = { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' };
  return { spec: { __proto__: null, ...streams, ...spec }, signal };
}

module.exports = { runOptions, spawnOptions };
