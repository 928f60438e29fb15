// Registries, and images out of containers: what the behaviours cannot say of Node.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

import {
  CancelledError, Engine, InvalidStateError, PermissionDeniedError, Registries, TimeoutError,
} from 'skep';
import { IMAGE, rejection, temporary, testEngine, until } from '../testing/support.mjs';

const { engine, directory, store, tar } = await testEngine();
const { images } = engine;
const REGISTRY = process.env.SKEP_TEST_REGISTRY;
assert.ok(REGISTRY, 'SKEP_TEST_REGISTRY is not set: see tests/registry/run');
const registries = new Registries({ [REGISTRY]: { plainHttp: true } }, { credentialFiles: [] });

/** A registry that takes connections and never says anything. */
async function silent() {
  const sockets = new Set();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)).resume());
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const name = `localhost:${server.address().port}`;
  return { name, sockets, registries: { [name]: { plainHttp: true } } };
}

const named = (name) => readdirSync('/proc/self/task').filter((task) => {
  try {
    return readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim() === name;
  } catch {
    return false;
  }
});

/** An image of one layer of 16 MiB that no compression makes smaller. */
const LARGE = 'localhost/skep-large:1';
const tree = join(directory, 'tree');
mkdirSync(tree);
writeFileSync(join(tree, 'data'), randomBytes(16 << 20));
execFileSync('tar', ['-cf', join(directory, 'large.tar'), '-C', tree, '.']);
const large = await images.import(join(directory, 'large.tar'), LARGE);

test('whatever waits for a silent registry can be aborted', async () => {
  const { name, registries: access, sockets } = await silent();
  const reach = new Registries(access);
  const reference = `${name}/skep/silent:1`;
  for (const ask of [
    (signal) => images.pull(reference, { registries: access, signal }),
    (signal) => images.push(IMAGE, reference, { registries: access, signal }),
    (signal) => reach.ping(name, { signal }),
    (signal) => reach.resolve(reference, { signal }),
    (signal) => reach.tags(`${name}/skep/silent`, { signal }),
    (signal) => reach.referrers(reference, { signal }),
  ]) {
    const controller = new AbortController();
    const asked = rejection(ask(controller.signal));
    await until('it has connected', () => sockets.size > 0);
    const reason = new Error('enough');
    controller.abort(reason);
    const error = await asked;
    assert.deepEqual([error.name, error.code, error.cause], ['AbortError', 'ABORT_ERR', reason]);
    // It is over: its connection is, too.
    await until('it has hung up', () => sockets.size === 0);
  }
});

test('a signal that is aborted begins nothing', async () => {
  const { name, registries: access, sockets } = await silent();
  const signal = AbortSignal.abort();
  for (const begin of [
    () => images.pull(`${name}/a:1`, { registries: access, signal }),
    () => images.load(join(directory, 'none.tar'), { signal }),
    () => images.prune('unused', { signal }),
    () => new Registries(access).ping(name, { signal }),
  ]) assert.equal((await rejection(begin())).name, 'AbortError');
  assert.equal(sockets.size, 0);
  assert.ok(await images.find(IMAGE));
});

test('what reads a pipe, or is about to, can be aborted', async () => {
  const fifo = join(directory, 'never.fifo');
  execFileSync('mkfifo', [fifo]);
  for (const begin of [
    (signal) => images.load(fifo, { signal }),
    (signal) => images.loadAll(fifo, { signal }),
    (signal) => images.import(fifo, undefined, { signal }),
  ]) {
    const begun = begin(AbortSignal.timeout(20));
    const error = await rejection(begun);
    assert.deepEqual([error.name, error.cause.name], ['AbortError', 'TimeoutError']);
  }
});

test('one signal aborts any number of operations, and leaves no listener', async () => {
  const { name, registries: access, sockets } = await silent();
  const controller = new AbortController();
  const { signal } = controller;
  const warnings = [];
  process.on('warning', (warning) => warnings.push(warning));
  const pull = (n) => rejection(images.pull(`${name}/a${n}:1`, { registries: access, signal }));
  const pulls = Array.from({ length: 30 }, (_, n) => pull(n));
  await until('all have connected', () => sockets.size === 30);
  assert.equal(warnings.length, 0);
  controller.abort();
  assert.ok((await Promise.all(pulls)).every(({ name }) => name === 'AbortError'));
});

test('pulls that hang hold up neither starts, nor looks, nor files, and their threads end', async () => {
  const { name, registries: access, sockets } = await silent();
  const controller = new AbortController();
  const { signal } = controller;
  // More than there are threads for.
  const pulls = Array.from({ length: 100 }, (_, n) =>
    rejection(images.pull(`${name}/b${n}:1`, { registries: access, signal })),
  );
  await until('they hang', () => sockets.size >= 64);
  assert.equal((await engine.run(IMAGE, ['echo', 'on'])).stdout, 'on\n');
  assert.equal((await images.find(IMAGE)).references[0], IMAGE);
  assert.ok((await images.list()).length >= 2);
  assert.equal(named('skep-images').length, 64);
  controller.abort();
  assert.equal((await Promise.all(pulls)).filter(({ name }) => name === 'AbortError').length, 100);
  await until('the threads have ended', () => named('skep-images').length === 0);
  // And come again.
  assert.ok((await images.diskUsage()).images.length >= 2);
});

test('an abort of what still waits for a thread waits for no other', async () => {
  const { name, registries: access, sockets } = await silent();
  const controllers = Array.from({ length: 70 }, () => new AbortController());
  const pulls = controllers.map(({ signal }, n) =>
    rejection(images.pull(`${name}/q${n}:1`, { registries: access, signal })),
  );
  await until('the others hang', () => sockets.size === 64);
  controllers.at(-1).abort();
  const error = await Promise.race([pulls.at(-1), delay(20_000, { name: 'nothing' }, { ref: false })]);
  assert.equal(error.name, 'AbortError');
  assert.equal(sockets.size, 64);
  for (const controller of controllers) controller.abort();
  await Promise.all(pulls);
});

test('names that wait for another process hold up no start, and can be aborted', async () => {
  // It says so when it has the lock, and has it until its input ends.
  const holder = spawn('flock', [join(store, 'images.lock'), 'sh', '-c', 'echo; read line']);
  try {
    await once(holder.stdout, 'data');
    const { signal } = new AbortController();
    const tag = (options) => images.tag(IMAGE, 'localhost/skep-tagged:1', options);
    const tags = Array.from({ length: 4 }, () => tag({ signal }));
    const run = engine.run(IMAGE, ['echo', 'on']);
    const { stdout } = await Promise.race([run, delay(20_000, {}, { ref: false })]);
    assert.equal(stdout, 'on\n');
    assert.equal((await rejection(tag({ signal: AbortSignal.timeout(20) }))).name, 'AbortError');
    holder.stdin.end();
    await Promise.all(tags);
  } finally {
    holder.stdin.end();
  }
  await images.remove('localhost/skep-tagged:1');
});

test('a registry that is silent is told of in words', async () => {
  const { name, registries: access } = await silent();
  const reach = new Registries(access, { attempts: 1, timeoutMs: 50, credentialFiles: [] });
  const error = await rejection(reach.ping(name));
  assert.ok(error instanceof TimeoutError);
  assert.match(error.message, /^cannot ping localhost:\d+: .*it does not answer in time;/);
  assert.ok(!('status' in error));
});

test('progress: the last report of each blob comes before the end, and a slow callback gets fewer', async () => {
  const reference = `${REGISTRY}/skep/node-progress:1`;
  const reports = [];
  const block = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  const onProgress = (report) => {
    reports.push(report);
    block();
  };
  const digest = await images.push(large, reference, { registries, onProgress });
  const told = reports.length;
  assert.equal(digest, large.digest);
  const { manifest } = large.inspect();
  for (const { digest: blob, size } of [...manifest.layers, manifest.config]) {
    const last = reports.filter((report) => report.blob === blob).at(-1);
    assert.deepEqual(last, { blob, total: size, sent: size, done: 'sent' });
  }
  // Of 64 steps of 256 KiB: all of them would take 13 seconds.
  assert.ok(told < 60, `${told} reports`);
  await delay(50);
  assert.equal(reports.length, told);

  const again = [];
  await images.push(large, reference, { registries, onProgress: (report) => again.push(report) });
  assert.deepEqual(new Set(again.map(({ done }) => done)), new Set([null, 'existed']));
  assert.ok(again.filter(({ done }) => done).length === 2);

  const other = await testEngine();
  const pulled = [];
  const image = await other.engine.images.pull(reference, {
    registries,
    onProgress: (report) => {
      pulled.push(report);
      block();
    },
  });
  assert.equal(image.id, large.id);
  const [{ digest: layer, size }] = manifest.layers;
  assert.deepEqual(pulled.at(-1), { layer, total: size, fetched: size, unpacked: true });
  assert.ok(pulled.length < 60, `${pulled.length} reports`);
  const fetched = pulled.map((report) => report.fetched);
  assert.deepEqual(fetched, [...fetched].sort((a, b) => a - b));
});

test('what a callback throws ends the operation, and is what comes of it', async () => {
  const reference = `${REGISTRY}/skep/node-throw:1`;
  const thrown = { not: 'even an error' };
  let calls = 0;
  const onProgress = () => {
    calls++;
    throw thrown;
  };
  assert.equal(await rejection(images.push(large, reference, { registries, onProgress })), thrown);
  assert.equal(calls, 1);
  await assert.rejects(registries.resolve(reference), { code: 'ERR_SKEP_NOT_FOUND' });
  await images.push(large, reference, { registries });

  const other = await testEngine();
  const pull = (options) => other.engine.images.pull(reference, { registries, ...options });
  assert.equal(await rejection(pull({ onProgress })), thrown);
  assert.equal(calls, 2);
  // An abort from within is one.
  const controller = new AbortController();
  const aborted = pull({ onProgress: () => controller.abort(), signal: controller.signal });
  assert.equal((await rejection(aborted)).name, 'AbortError');
  assert.equal((await pull({})).id, large.id);
});

test('an image that was pulled with a signal outlives it', async () => {
  const reference = `${REGISTRY}/skep/node-outlives:1`;
  await images.push(IMAGE, reference, { registries });
  const other = await testEngine();
  const controller = new AbortController();
  const { signal } = controller;
  const image = await other.engine.images.pull(reference, { registries, unpack: false, signal });
  controller.abort();
  assert.equal((await image.layers()).length, 1);
  assert.equal((await other.engine.run(image, ['echo', 'a'])).stdout, 'a\n');
});

test('a first start unpacks its image, which an abort ends', async () => {
  const { engine: other } = await testEngine();
  const reference = `${REGISTRY}/skep/node-first:1`;
  await images.push(large, reference, { registries });
  const image = await other.images.pull(reference, { registries, unpack: false });
  const usage = async () => (await other.images.diskUsage()).images.at(-1).layers;
  const controller = new AbortController();
  const run = rejection(other.run(image, ['/data'], { signal: controller.signal }));
  controller.abort();
  assert.equal((await run).name, 'AbortError');
  assert.equal(await usage(), 0);
  // Others do not have to wait for it.
  const first = rejection(other.run(reference, ['/data']));
  assert.equal((await other.run(IMAGE, ['echo', 'a'])).stdout, 'a\n');
  assert.equal((await first).code, 'ERR_SKEP_NOT_EXECUTABLE');
  assert.ok((await usage()) >= 16 << 20);
});

test('close cancels what is done with images', async () => {
  const { name, registries: access, sockets } = await silent();
  const other = await Engine.open(join(temporary(), 'store'));
  const image = await other.images.import(tar, IMAGE);
  const pull = rejection(other.images.pull(`${name}/a:1`, { registries: access }));
  await until('it has connected', () => sockets.size > 0);
  await other.close();
  assert.ok((await pull) instanceof CancelledError);
  await until('it has hung up', () => sockets.size === 0);
  for (const late of [
    () => other.images.pull('a'), () => other.images.prune(), () => image.export('/none'),
    () => image.layers(),
  ]) assert.ok((await rejection(late())) instanceof InvalidStateError);
});

test('a worker that is terminated leaves no pull', async () => {
  const { name, registries: access, sockets } = await silent();
  const worker = new Worker(
    `const { parentPort, workerData: { store, name, access } } = require('node:worker_threads');
     const { Engine } = require('skep');
     Engine.open(store).then(({ images }) => {
       const onProgress = () => {};
       for (const n of [1, 2]) images.pull(name + '/worker' + n, { registries: access, onProgress });
     });`,
    { eval: true, workerData: { store, name, access } },
  );
  await until('it has connected', () => sockets.size === 2);
  await worker.terminate();
  await until('it has hung up', () => sockets.size === 0);
});

test('a pull keeps the event loop alive, and its callback does not', async () => {
  const reference = `${REGISTRY}/skep/node-alive:1`;
  await images.push(IMAGE, reference, { registries });
  const program = `
    const { Engine } = require('skep');
    const [store, reference, registry] = process.argv.slice(1);
    Engine.open(store).then(async ({ images }) => {
      let reports = 0;
      const options = { registries: { [registry]: { plainHttp: true } }, onProgress: () => reports++ };
      const { references } = await images.pull(reference, options);
      console.log(references[0] === reference, reports > 0);
    });`;
  const args = ['-e', program, join(temporary(), 'store'), reference, REGISTRY];
  const cwd = new URL('..', import.meta.url);
  assert.equal(execFileSync(process.execPath, args, { cwd, encoding: 'utf8' }), 'true true\n');
});

/** Puts bytes into the registry by hand. */
async function put(repository, what, bytes, type) {
  const base = `http://${REGISTRY}/v2/${repository}`;
  if (what !== 'blob') {
    const headers = { 'content-type': type };
    const { status } = await fetch(`${base}/manifests/${what}`, { method: 'PUT', headers, body: bytes });
    return assert.equal(status, 201);
  }
  const digest = digestOf(bytes);
  const begun = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
  const to = new URL(begun.headers.get('location'), base);
  to.searchParams.set('digest', digest);
  const headers = { 'content-type': 'application/octet-stream' };
  const { status } = await fetch(to, { method: 'PUT', headers, body: bytes });
  assert.equal(status, 201);
  return { mediaType: type, digest, size: bytes.length };
}

const digestOf = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Signs what is at `repository`, as cosign does, by this key. */
async function cosign(repository, digest, privateKey) {
  const payload = Buffer.from(JSON.stringify({
    critical: {
      identity: { 'docker-reference': `${REGISTRY}/${repository}` },
      image: { 'docker-manifest-digest': digest },
      type: 'cosign container image signature',
    },
    optional: null,
  }));
  const simple = 'application/vnd.dev.cosign.simplesigning.v1+json';
  const signature = sign('sha256', payload, privateKey).toString('base64');
  const layer = await put(repository, 'blob', payload, simple);
  layer.annotations = { 'dev.cosignproject.cosign/signature': signature };
  const configType = 'application/vnd.oci.image.config.v1+json';
  const config = await put(repository, 'blob', Buffer.from('{}'), configType);
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [layer] });
  await put(repository, digest.replace(':', '-') + '.sig', manifest, mediaType);
}

const keyPair = () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return { pem: publicKey.export({ type: 'spki', format: 'pem' }), privateKey };
};

test('a policy takes what is signed, and nothing else', async () => {
  const { images } = (await testEngine()).engine;
  const [ours, others] = [keyPair(), keyPair()];
  const [signed, unsigned] = ['skep/node-signed', 'skep/node-unsigned'];
  const digest = await images.push(IMAGE, `${REGISTRY}/${signed}:1`, { registries });
  await images.push(IMAGE, `${REGISTRY}/${unsigned}:1`, { registries });
  await cosign(signed, digest, ours.privateKey);
  await images.remove(IMAGE);

  const pull = async (repository, policy) => {
    const image = await images.pull(`${REGISTRY}/${repository}:1`, { registries, policy });
    await images.remove(image.references[0]);
    return image.digest;
  };
  const refuses = async (repository, policy, message) => {
    const error = await rejection(pull(repository, policy));
    assert.ok(error instanceof PermissionDeniedError, error);
    assert.equal(error.operation, 'accept');
    assert.match(error.message, message);
    assert.deepEqual(await images.list(), []);
  };
  const keys = [ours.pem];
  assert.equal(await pull(signed, { default: { keys } }), digest);
  assert.equal(await pull(signed, { default: { keys: [Buffer.from(ours.pem), others.pem] } }), digest);
  const prefixes = { [`${REGISTRY}/skep/node-signed`]: { keys, identity: 'repository' } };
  assert.equal(await pull(signed, { default: 'reject', prefixes }), digest);
  assert.equal(await pull(unsigned, { default: 'accept', prefixes }), digest);
  const named = { named: `${REGISTRY}/${signed}` };
  assert.equal(await pull(signed, { default: { keys, identity: named } }), digest);

  await refuses(unsigned, { default: 'reject', prefixes }, /the policy's default rejects all images; set a prefix/);
  await refuses(signed, { default: 'accept', prefixes: { [REGISTRY]: 'reject' } }, /the policy for localhost:\d+ rejects all images/);
  await refuses(unsigned, { default: { keys } }, /have it signed, or give the key that has signed it/);
  await refuses(signed, { default: { keys: [others.pem] } }, /have it signed/);
  await refuses(signed, { default: { keys: [ours.pem, others.pem], atLeast: 2 } }, /have it signed/);
  await refuses(signed, { default: { keys, identity: 'exact' } }, /have it signed/);
  await refuses(signed, { default: { keys, identity: { named: `${REGISTRY}/${unsigned}` } } }, /have it signed/);
  const bad = rejection(pull(signed, { default: { keys: ['no PEM'] } }));
  assert.equal((await bad).code, 'ERR_SKEP_INVALID_INPUT');
});

test('files are kept until their child is disposed of, or its engine closed', async () => {
  const root = temporary();
  const other = await Engine.open(join(root, 'store'));
  await other.images.import(tar, IMAGE);
  const spawn = async () => {
    const child = await other.spawn(IMAGE, ['sh', '-c', 'echo kept >/kept'], { keepFiles: true });
    assert.equal((await child.wait()).code, 0);
    return child;
  };
  const kept = () => Number(execFileSync('sh', ['-c', 'find "$1" -name kept | wc -l', 'sh', root]));
  const [first, second] = [await spawn(), await spawn()];
  assert.equal(kept(), 2);
  assert.deepEqual((await first.diff()).map(({ path }) => path), ['/dev', '/kept']);
  const usage = await first.usage();
  assert.ok(usage.cpuTotalMs >= 0);
  await first[Symbol.asyncDispose]();
  assert.equal(kept(), 1);
  assert.equal(first.status.code, 0);
  first.kill();
  assert.deepEqual(await first.usage(), usage);
  for (const late of [() => first.diff(), () => first.commit(), () => first.export('/none')]) {
    const error = await rejection(late());
    assert.ok(error instanceof InvalidStateError, error);
    assert.match(error.message, /its files were removed at its end; have them kept/);
  }
  await first[Symbol.asyncDispose]();
  await other.close();
  assert.equal(kept(), 0);
  assert.ok((await rejection(second.diff())) instanceof InvalidStateError);
});

test('a commit is what it is told to be, and can be aborted', async () => {
  const { engine } = await testEngine();
  const child = await engine.spawn(IMAGE, ['sh', '-c', 'echo a >/a; head -c 300000000 /dev/zero >/zeros'], {
    keepFiles: true,
  });
  await child.wait();
  for (const begin of [
    (signal) => child.commit({ reference: 'localhost/skep-aborted:1', signal }),
    (signal) => child.export(join(directory, 'aborted.tar'), { signal }),
  ]) {
    const controller = new AbortController();
    const begun = rejection(begin(controller.signal));
    setTimeout(() => controller.abort(), 5);
    assert.equal((await begun).name, 'AbortError');
  }
  assert.throws(() => statSync(join(directory, 'aborted.tar')), { code: 'ENOENT' });
  assert.deepEqual((await engine.images.list()).map(({ references }) => references), [[IMAGE]]);
  await child[Symbol.asyncDispose]();

  const small = await engine.spawn(IMAGE, ['sh', '-c', 'echo a >/a'], { keepFiles: true });
  await small.wait();
  const options = {
    reference: 'localhost/skep-commit:1', author: 'a bee', comment: 'b', createdBy: 'c',
    time: new Date(86_400_000), config: { Cmd: ['cat', '/a'], Env: ['A=1'] },
  };
  const [one, two] = [await small.commit(options), await small.commit(options)];
  assert.equal(one.id, two.id);
  assert.deepEqual(one.config.config, options.config);
  const [, step] = one.history();
  const { layer, ...told } = step;
  assert.deepEqual(told, { created: '1970-01-02T00:00:00Z', createdBy: 'c', author: 'a bee', comment: 'b' });
  assert.deepEqual(Object.keys(layer), ['mediaType', 'digest', 'size', 'platform', 'artifactType', 'annotations']);
  assert.equal((await engine.run(one)).stdout, 'a\n');
  assert.deepEqual(await one.diff(one), []);
  await small[Symbol.asyncDispose]();
});

test('an Image stands for its id in save and push', async () => {
  const image = await images.find(IMAGE);
  const archive = join(directory, 'saved.tar');
  await images.save([image, LARGE], archive);
  const other = await Engine.open(join(temporary(), 'store'));
  const loaded = await other.images.loadAll(archive);
  assert.deepEqual(loaded.map(({ id }) => id).sort(), [image.id, large.id].sort());
  await images.save(image, archive, { format: 'oci' });
  assert.equal((await other.images.load(archive)).digest, image.digest);
  await other.close();
  const digest = await images.push(image, `${REGISTRY}/skep/node-image:1`, { registries });
  const { size, ...found } = await registries.resolve(`${REGISTRY}/skep/node-image:1`);
  const { mediaType } = image.inspect().manifest;
  assert.deepEqual(found, { mediaType, digest, platform: null, artifactType: null, annotations: {} });
  assert.ok(size > 0);
});
