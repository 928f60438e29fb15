// Bad input of every argument and option: core's errors, and for wrong types their like.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';

import { Engine, Mount, Registries, Root } from 'skep';
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
  await refuses(() => engine.run(IMAGE, [], { keepFiles: true }), unknown('keepFiles', `${names}, input, encoding, check`));
  await refuses(() => engine.spawn(IMAGE, [], { input: '' }), unknown('input', `${names}, keepFiles`));
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

const COUNT = 'a whole number from 1 to 2^32 - 1';
const SIGNATURE = '"accept", "reject" or { keys, atLeast, identity }';
const IDENTITY = '"signedTag", "exact", "repository" or { named: "registry.example/repository" }';
const CREDENTIALS = '{ user, password }, { identityToken } or { registryToken }';

/** Options of pulls with values of wrong types, and what is said of them. */
const PULLS = [
  [{ registries: [] }, option('registries', 'an array with something else in it', 'Registries, or an object by registry')],
  [{ registries: { 'a.b': true } }, 'cannot use registry "a.b": it is a boolean; give an object'],
  [{ registries: { 'a.b': { plainhttp: true } } }, 'cannot use option "plainhttp": there is none of that name; give plainHttp, mirrors, credentials, ca, clientCertificate'],
  [{ registries: { 'a.b': { plainHttp: 'yes' } } }, option('plainHttp', '"yes"', 'true or false')],
  [{ registries: { 'a.b': { mirrors: 'c.d' } } }, option('mirrors', '"c.d"', 'an array of strings')],
  [{ registries: { 'a.b': { credentials: 'secret' } } }, option('credentials', 'something else', CREDENTIALS)],
  [{ registries: { 'a.b': { credentials: { password: 'secret' } } } }, option('credentials', 'something else', CREDENTIALS)],
  [{ registries: { 'a.b': { credentials: { user: 'a', password: 1 } } } }, option('credentials', 'something else', CREDENTIALS)],
  [{ registries: { 'a.b': { ca: 1 } } }, option('ca', '1', 'a string or a Uint8Array')],
  [{ registries: { 'a.b': { ca: 'x' } } }, 'cannot use certificate authority given in PEM: it holds none'],
  [{ registries: { 'a.b': { clientCertificate: { cert: 'secret' } } } }, option('clientCertificate', 'something else', '{ cert, key }, both PEM')],
  [{ registries: { 'a.b': { clientCertificate: { cert: 'x', key: Buffer.from('y') } } } }, 'cannot use client certificate given in PEM: it holds none'],
  [{ registries: { 'http://a.b': {} } }, 'cannot pull localhost:1/a: "http://a.b" is no registry\'s name; write HOST or HOST:PORT, without http://'],
  [{ platform: 1 }, option('platform', '1', 'a string')],
  [{ platform: 'linux' }, 'cannot parse platform "linux": it has another form; write OS/ARCHITECTURE[/VARIANT], for instance linux/arm64'],
  [{ parallel: 0 }, option('parallel', '0', COUNT)],
  [{ parallel: 1.5 }, option('parallel', '1.5', COUNT)],
  [{ parallel: -1 }, option('parallel', '-1', COUNT)],
  [{ parallel: 2 ** 32 }, option('parallel', '4294967296', COUNT)],
  [{ unpack: 0 }, option('unpack', '0', 'true or false')],
  [{ onProgress: {} }, option('onProgress', 'an object (Object)', 'a function')],
  [{ signal: {} }, option('signal', 'an object (Object)', 'an AbortSignal')],
  [{ progress() {} }, 'cannot use option "progress": there is none of that name; give registries, platform, parallel, unpack, maxSize, policy, onProgress, signal'],
  [{ policy: 'reject' }, option('policy', '"reject"', '{ default, prefixes }')],
  [{ policy: { prefixes: {} } }, option('policy', 'an object (Object)', '{ default, prefixes }')],
  [{ policy: { default: 'allow' } }, option('default', '"allow"', SIGNATURE)],
  [{ policy: { default: { key: '' } } }, 'cannot use option "key": there is none of that name; give keys, atLeast, identity'],
  [{ policy: { default: { keys: 'x' } } }, option('keys', '"x"', 'an array of public keys, each PEM')],
  [{ policy: { default: { keys: [], identity: 'any' } } }, option('identity', '"any"', IDENTITY)],
  [{ policy: { default: { keys: [], atLeast: 0 } } }, option('atLeast', '0', COUNT)],
  [{ policy: { default: { keys: [] } } }, 'cannot require signatures by 1 of 0 keys: it must be at least 1, and not more than there are keys'],
  [{ policy: { default: {} } }, 'cannot require signatures by 1 of 0 keys: it must be at least 1, and not more than there are keys'],
  [{ policy: { default: 'accept', prefixes: [] } }, option('prefixes', 'an array with something else in it', 'an object by the beginning of names')],
  [{ policy: { default: 'accept', prefixes: { 'a.b': 1 } } }, `cannot use prefix "a.b": it is 1; give ${SIGNATURE}`],
  [{ policy: { default: 'accept', prefixes: { library: 'reject' } } }, 'cannot set the policy for "library": it is no part of a complete name; write HOST[:PORT][/PATH], for instance docker.io/library'],
];

for (const [options, message] of PULLS) {
  test(`a pull's option that is wrong: ${message}`, () =>
    refuses(() => images.pull('localhost:1/a', options), message));
}

test('arguments of what is done with images', async () => {
  const image = await images.find(IMAGE);
  const names = 'a name, an id, an Image, or an array of those';
  await refuses(() => images.pull(), argument('reference', 'undefined', 'a string'));
  await refuses(() => images.push(1, 'a'), argument('image', '1', 'a name, an id or an Image'));
  await refuses(() => images.push(image), argument('reference', 'undefined', 'a string'));
  await refuses(() => images.push(image, 'localhost:1/a', { platform: '' }), 'cannot use option "platform": there is none of that name; give registries, parallel, chunk, mountFrom, onProgress, signal');
  await refuses(() => images.push(image, 'localhost:1/a', { chunk: 'big' }), 'cannot read the size "big": it is not a number of bytes below 2^63; write for example 512k, 256m or 1.5g');
  await refuses(() => images.push(image, 'localhost:1/a', { mountFrom: ['a b'] }), 'cannot push localhost:1/a: "a b", to mount from, is no repository\'s name; write it without the registry');
  await refuses(() => images.save(1, '/none'), argument('images', '1', names));
  await refuses(() => images.save([image, 1], '/none'), argument('images', 'an array with something else in it', names));
  await refuses(() => images.save([], '/none'), 'cannot save no images; name at least one');
  await refuses(() => images.save(image), argument('path', 'undefined', 'a string'));
  await refuses(() => images.save(image, '/none', { format: 'tar' }), option('format', '"tar"', '"docker" or "oci"'));
  await refuses(() => images.prune('all'), argument('what', '"all"', '"files" or "nameless" or "unused"'));
  await refuses(() => images.diskUsage({ signal: 1 }), option('signal', '1', 'an AbortSignal'));
  await refuses(() => images.load('/none', { platform: 'a' }), 'cannot use option "platform": there is none of that name; give maxSize, signal');
  for (const bounded of [() => images.load('/none', { maxSize: 'big' }), () => images.pull('a.b/c', { maxSize: 'big' })]) {
    await refuses(bounded, 'cannot read the size "big": it is not a number of bytes below 2^63; write for example 512k, 256m or 1.5g');
  }
  await refuses(() => image.export(), argument('path', 'undefined', 'a string'));
  await refuses(() => image.diff(IMAGE), argument('base', `"${IMAGE}"`, 'an Image'));
  await refuses(() => image.layers({ signal: null }), option('signal', 'null', 'an AbortSignal'));
});

test('options of commits', async () => {
  const image = await images.find(IMAGE);
  await using(await engine.spawn(IMAGE, ['cat']), async (child) => {
    for (const commit of [(options) => image.squash(options), (options) => child.commit(options)]) {
      await refuses(() => commit({ as: 'a' }), 'cannot use option "as": there is none of that name; give reference, config, author, comment, createdBy, time, maxSize, signal');
      await refuses(() => commit({ time: '2026' }), option('time', '"2026"', 'a Date, or a number of milliseconds since 1970'));
      await refuses(() => commit({ time: new Date(NaN) }), option('time', 'an object (Date)', 'a Date, or a number of milliseconds since 1970'));
      await refuses(() => commit({ time: 1e300 }), 'cannot use option "time": it is too far from the present');
      await refuses(() => commit({ maxSize: -1 }), 'cannot read the size "-1": it is not a number of bytes below 2^63; write for example 512k, 256m or 1.5g');
      await refuses(() => commit({ config: 'sh' }), option('config', '"sh"', 'an object such as inspect().config.config of an image'));
      await refuses(() => commit({ config: { Cmd: 'sh' } }), 'cannot use option "config": invalid type: string "sh", expected a sequence at line 1 column 11; give an object such as that of an image, inspect().config.config');
      await refuses(() => commit({ author: 1 }), option('author', '1', 'a string'));
    }
    await refuses(() => child.export(), argument('path', 'undefined', 'a string'));
    await refuses(() => child.diff({ base: 1 }), 'cannot use option "base": there is none of that name; give signal');
  });
});

test('options of registries', async () => {
  const time = 'a number of milliseconds from 0 to 2^31 - 1';
  await refuses(() => new Registries([]), argument('access', 'an array with something else in it', 'an object by registry'));
  await refuses(() => new Registries({}, { timeout: 1 }), 'cannot use option "timeout": there is none of that name; give credentialFiles, timeoutMs, attempts, pauseMs');
  await refuses(() => new Registries({}, { timeoutMs: -1 }), option('timeoutMs', '-1', time));
  await refuses(() => new Registries({}, { pauseMs: Infinity }), option('pauseMs', 'Infinity', time));
  await refuses(() => new Registries({}, { attempts: 0 }), option('attempts', '0', COUNT));
  await refuses(() => new Registries({}, { credentialFiles: '/a' }), option('credentialFiles', '"/a"', 'an array of strings'));
  const registries = new Registries();
  await refuses(() => registries.ping(), argument('registry', 'undefined', 'a string'));
  await refuses(() => registries.resolve(1), argument('reference', '1', 'a string'));
  await refuses(() => registries.tags('localhost:1/a', { artifactType: 'a' }), 'cannot use option "artifactType": there is none of that name; give signal');
  await refuses(() => registries.referrers('localhost:1/a', { artifactType: 1 }), option('artifactType', '1', 'a string'));
  await refuses(() => registries.tags('UPPER/a'), 'cannot parse reference "UPPER/a": repository names are lower case; write [HOST[:PORT]/]NAME[:TAG][@DIGEST]');
});

/** `await using`, of which this Node.js may know nothing. */
async function using(child, body) {
  try {
    await body(child);
  } finally {
    await child[Symbol.asyncDispose]();
  }
}

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
