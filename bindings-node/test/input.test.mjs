// Bad input of every argument and option: core's errors, and for wrong types their like.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';

import { Engine, Mount, Root } from 'skep';
import { IMAGE, rejection, testEngine } from '../testing/support.mjs';

const { engine, directory } = await testEngine();
const { images } = engine;

async function refuses(action, message, kind = 'InvalidInput') {
  const error = await rejection((async () => action())());
  assert.deepEqual([error.kind, error.message], [kind, message]);
  assert.equal(error.name, `${kind}Error`);
}

const option = (name, is, give) => `cannot use option "${name}": it is ${is}; give ${give}`;
const argument = (name, is, give) => `cannot use argument "${name}": it is ${is}; give ${give}`;

/** Each option with values of wrong types: how they are called, and what is wanted. */
const TYPES = [
  ['entrypoint', ['sh', '"sh"'], 'an array of strings'],
  ['entrypoint', [[1], 'an array with something else in it'], 'an array of strings'],
  ['env', ['A=1', '"A=1"'], 'an object of strings'],
  ['env', [{ A: 1 }, 'an object (Object)'], 'an object of strings'],
  ['env', [['A=1'], 'an array with something else in it'], 'an object of strings'],
  ['workingDir', [1, '1'], 'a string'],
  ['user', [1000, '1000'], 'a string'],
  ['hostname', [null, 'null'], 'a string'],
  ['mounts', [[{ type: 'bind' }], 'an array with something else in it'], 'an array of Mount.bind(...) and Mount.tmpfs(...)'],
  ['entrypoint', [['echo', , 'a'], 'an array with something else in it'], 'an array of strings'],
  ['mounts', [[, Mount.tmpfs('/a')], 'an array with something else in it'], 'an array of Mount.bind(...) and Mount.tmpfs(...)'],
  ['mounts', [Mount.tmpfs('/a'), 'an object (Mount)'], 'an array of Mount.bind(...) and Mount.tmpfs(...)'],
  ['readOnly', [1, '1'], 'true or false'],
  ['allowNewPrivileges', ['true', '"true"'], 'true or false'],
  ['rlimits', [{ nofile: '1' }, 'an object (Object)'], 'an object of numbers, or of { soft, hard }, by resource'],
  ['rlimits', [{ nofile: { soft: 1 } }, 'an object (Object)'], 'an object of numbers, or of { soft, hard }, by resource'],
  ['memory', [1n, 'a bigint'], 'a number of bytes or a string such as "256m"'],
  ['memorySwap', [true, 'a boolean'], 'a number of bytes or a string such as "256m"'],
  ['cpus', ['0.5', '"0.5"'], 'a number'],
  ['pids', ['5', '"5"'], 'a number'],
  ['timeoutMs', ['5', '"5"'], 'a number'],
  ['stdin', ['null', '"null"'], '"pipe", "inherit", "ignore", a file descriptor or an object that has one as fd'],
  ['stdout', [1.5, '1.5'], '"pipe", "inherit", "ignore", a file descriptor or an object that has one as fd'],
  ['stdout', [2 ** 32, '4294967296'], '"pipe", "inherit", "ignore", a file descriptor or an object that has one as fd'],
  ['stderr', [{}, 'an object (Object)'], '"pipe", "inherit", "ignore", a file descriptor or an object that has one as fd'],
  ['signal', [{ aborted: false }, 'an object (Object)'], 'an AbortSignal'],
];

const RUN_TYPES = [
  ['input', [new ArrayBuffer(1), 'an object (ArrayBuffer)'], 'a string or a Uint8Array'],
  ['encoding', ['utf9', '"utf9"'], '"buffer" or an encoding such as "utf8"'],
  ['check', ['yes', '"yes"'], 'true or false'],
];

for (const [name, [value, is], give] of [...TYPES, ...RUN_TYPES]) {
  test(`option ${name} of the wrong type: ${is}`, async () => {
    await refuses(() => engine.run(IMAGE, ['true'], { [name]: value }), option(name, is, give));
    if (!RUN_TYPES.some(([of]) => of === name)) {
      await refuses(() => engine.spawn(IMAGE, ['true'], { [name]: value }), option(name, is, give));
    }
  });
}

/** Values that core refuses, some of which no other language can even say. */
const VALUES = [
  [{ memory: -1 }, 'cannot read the size "-1": it is not a number of bytes below 2^63; write for example 512k, 256m or 1.5g'],
  [{ memory: NaN }, 'cannot read the size "NaN": it is not a number of bytes below 2^63; write for example 512k, 256m or 1.5g'],
  [{ memory: 2 ** 70 }, 'cannot read the size "1.1805916207174113e+21": it is not a number of bytes below 2^63; write for example 512k, 256m or 1.5g'],
  [{ memory: '64m', memorySwap: 'lots' }, 'cannot read the size "lots": it is not a number of bytes below 2^63; write for example 512k, 256m or 1.5g'],
  [{ cpus: NaN }, 'cannot limit cpus to NaN: it must be a number from 0.01 to 8192'],
  [{ pids: -1 }, 'cannot limit processes to -1: it must be a whole number below 2^32; give at least 1, or no limit'],
  [{ pids: 1.5 }, 'cannot limit processes to 1.5: it must be a whole number below 2^32; give at least 1, or no limit'],
  [{ pids: 2 ** 32 }, 'cannot limit processes to 4294967296: it must be a whole number below 2^32; give at least 1, or no limit'],
  [{ timeoutMs: -1 }, 'cannot limit the time to -1 ms: it must be a number of milliseconds from 0; give a time, or no limit'],
  [{ timeoutMs: NaN }, 'cannot limit the time to NaN ms: it must be a number of milliseconds from 0; give a time, or no limit'],
  [{ timeoutMs: Infinity }, 'cannot limit the time to inf ms: it must be a number of milliseconds from 0; give a time, or no limit'],
  [{ rlimits: { nofile: -1 } }, 'cannot limit nofile to -1: it must be a whole number from 0; give Infinity for no limit'],
  [{ rlimits: { nofile: { soft: 0.5, hard: 1 } } }, 'cannot limit nofile to 0.5: it must be a whole number from 0; give Infinity for no limit'],
  [{ stdin: 1_000_000 }, 'cannot connect stdin to file descriptor 1000000: Bad file descriptor (os error 9); give an open one'],
  [{ stderr: -1 }, 'cannot connect stderr to file descriptor -1: Bad file descriptor (os error 9); give an open one'],
  [{ mounts: [Mount.tmpfs('/a', { size: 'big' })] }, 'cannot read the size "big": it is not a number of bytes below 2^63; write for example 512k, 256m or 1.5g'],
  [{ env: { A: 'a\0b' } }, 'cannot set variable "A": a name is not empty and has no \'=\', and neither part has a NUL byte; rename it, or encode its value'],
];

for (const [options, message] of VALUES) {
  test(`a value that is wrong: ${message}`, async () => {
    await refuses(() => engine.run(IMAGE, ['true'], options), message);
    await refuses(() => engine.spawn(IMAGE, ['true'], options), message);
  });
}

test('an option that there is not is named, and so are those that there are', async () => {
  const names =
    'entrypoint, env, workingDir, user, hostname, mounts, readOnly, allowNewPrivileges, rlimits, memory, ' +
    'memorySwap, cpus, pids, timeoutMs, stdin, stdout, stderr, signal';
  const unknown = (name, names) => `cannot use option "${name}": there is none of that name; give ${names}`;
  await refuses(() => engine.run(IMAGE, [], { memroy: 1 }), unknown('memroy', `${names}, input, encoding, check`));
  await refuses(() => engine.spawn(IMAGE, [], { input: '' }), unknown('input', names));
  await refuses(() => engine.run(IMAGE, [], { constructor: 1 }), unknown('constructor', `${names}, input, encoding, check`));
  await refuses(() => Mount.bind('/a', '/b', { readonly: true }), unknown('readonly', 'readOnly'));
  await refuses(() => Mount.tmpfs('/a', { mode: 1 }), unknown('mode', 'readOnly, size'));
});

test('undefined is nothing given', async () => {
  const options = { env: { A: undefined }, memory: undefined, input: undefined, signal: undefined };
  assert.equal((await engine.run(IMAGE, ['sh', '-c', 'echo ${A-none}'], options)).stdout, 'none\n');
  await refuses(
    () => engine.run(IMAGE, undefined, undefined),
    'cannot start a container without a command: neither the image nor the caller names one; give args',
  );
});

test('a limit is that of its resource, whatever its object has besides', async () => {
  class Limit {
    resource = 'core';
    get soft() { return 7; }
    get hard() { return 9; }
  }
  const args = ['sh', '-c', 'ulimit -Sn; ulimit -Hn'];
  const { stdout } = await engine.run(IMAGE, args, { rlimits: { nofile: new Limit() } });
  assert.equal(stdout, '7\n9\n');
});

test('what is not given is not taken from Object.prototype', async () => {
  const foreign = { timeoutMs: 0, entrypoint: ['false'], encoding: 'buffer', hostname: 'foreign', graceMs: 'x' };
  Object.assign(Object.prototype, foreign);
  try {
    assert.notEqual((await engine.run(IMAGE, ['hostname'])).stdout, 'foreign\n');
    assert.equal((await engine.run(IMAGE, ['echo', 'a'], { readOnly: true })).stdout, 'a\n');
    // Node's own streams do take that.
    delete Object.prototype.encoding;
    const child = await engine.spawn(IMAGE, ['cat']);
    child.stdin.end();
    assert.equal((await child.stop()).reason, 'exited');
  } finally {
    for (const name of Object.keys(foreign)) delete Object.prototype[name];
  }
});

test('input needs a pipe', async () => {
  await refuses(
    () => engine.run(IMAGE, ['cat'], { input: '', stdin: 'ignore' }),
    'cannot use option "input": stdin is not a pipe; leave out one of them',
  );
});

test('arguments of the wrong type', async () => {
  const image = 'a name, an id, an Image or a Root';
  for (const start of [engine.run, engine.spawn]) {
    const begin = (...args) => start.apply(engine, args);
    await refuses(() => begin(), argument('image', 'undefined', image));
    await refuses(() => begin({}), argument('image', 'an object (Object)', image));
    await refuses(() => begin(IMAGE, 'ls -l'), argument('args', '"ls -l"', 'an array of strings'));
    await refuses(() => begin(IMAGE, 'ls'.repeat(1000)), argument('args', 'a string of 2000 characters', 'an array of strings'));
    await refuses(() => begin(IMAGE, ['a', 1]), argument('args', 'an array with something else in it', 'an array of strings'));
    await refuses(() => begin(IMAGE, ['a', , 'b']), argument('args', 'an array with something else in it', 'an array of strings'));
    await refuses(() => begin(IMAGE, [], null), argument('options', 'null', 'an object'));
    await refuses(() => begin(IMAGE, [], []), argument('options', 'an array with something else in it', 'an object'));
    assert.match((await rejection(begin(IMAGE, ['a\0b']))).message, /NUL byte/);
    await refuses(() => begin(Root.directory('/no/such')), 'cannot use as root /no/such: No such file or directory (os error 2)', 'NotFound');
  }
  await refuses(() => Engine.open(1), argument('store', '1', 'a string'));
  await refuses(() => Root.directory(), argument('path', 'undefined', 'a string'));
  await refuses(() => Mount.bind('/a'), argument('destination', 'undefined', 'a string'));
  await refuses(() => Mount.bind(1, '/a'), argument('source', '1', 'a string'));
  await refuses(() => Mount.tmpfs(), argument('destination', 'undefined', 'a string'));
  await refuses(() => Mount.tmpfs('/a', { size: {} }), option('size', 'an object (Object)', 'a number of bytes or a string such as "256m"'));
});

test('arguments of images', async () => {
  for (const method of ['load', 'loadAll']) {
    await refuses(() => images[method](), argument('path', 'undefined', 'a string'));
    const none = join(directory, 'none.tar');
    await refuses(() => images[method](none), `cannot load image from ${none}: No such file or directory (os error 2)`, 'NotFound');
  }
  await refuses(() => images.import(), argument('tar', 'undefined', 'a string'));
  await refuses(() => images.import('/none', 1), argument('reference', '1', 'a string'));
  await refuses(() => images.find(1), argument('name', '1', 'a string'));
  await refuses(() => images.tag(1, 'b'), argument('name', '1', 'a string'));
  await refuses(() => images.tag(IMAGE), argument('reference', 'undefined', 'a string'));
  await refuses(() => images.remove(), argument('name', 'undefined', 'a string'));
});

test('waits and stops of no time', async () => {
  const child = await engine.spawn(IMAGE, ['cat']);
  const time = 'a number of milliseconds from 0 to 2^31 - 1';
  await refuses(() => child.wait({ timeoutMs: -1 }), option('timeoutMs', '-1', time));
  await refuses(() => child.stop({ graceMs: Infinity }), option('graceMs', 'Infinity', time));
  await refuses(() => child.wait(5), argument('options', '5', 'an object'));
  assert.equal(child.status, null);
  await child[Symbol.asyncDispose]();
});

test('an engine is made by open', () => {
  assert.throws(() => new Engine(), { name: 'TypeError', message: /await Engine\.open/ });
});
