// Nothing waits in the event loop or in libuv's pool.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { createReadStream, readFileSync, readdirSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { IMAGE, repository, testEngine } from '../testing/support.mjs';

const { engine, store, tar } = await testEngine();
const COUNT = 100;

/** A hundred runs and a hundred children that wait for a go. */
async function crowd() {
  const children = await Promise.all(
    Array.from({ length: COUNT }, () => engine.spawn(IMAGE, ['cat'])),
  );
  const aborts = new AbortController();
  const runs = Array.from({ length: COUNT }, () =>
    engine.run(IMAGE, ['sleep', '600'], { signal: aborts.signal }).catch(({ code }) => code),
  );
  const waits = children.map((child) => child.wait());
  return {
    async end() {
      for (const child of children) child.stdin.end();
      aborts.abort();
      assert.ok((await Promise.all(waits)).every(({ success }) => success));
      assert.deepEqual(new Set(await Promise.all(runs)), new Set(['ABORT_ERR']));
    },
  };
}

/** Milliseconds that a file's reading takes: the median of many. */
async function reading() {
  const times = [];
  for (let i = 0; i < 200; i++) {
    const start = performance.now();
    await readFile(import.meta.filename ?? new URL(import.meta.url));
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[100];
}

test('files are read as quickly while a hundred containers are waited for', async () => {
  const idle = await reading();
  const { end } = await crowd();
  const busy = await reading();
  await end();
  // Four waits in the pool would make it the time of a wait: for ever.
  assert.ok(busy < 10 * idle + 5, `${busy} ms, and ${idle} ms when idle`);
});

test('there is one thread that waits, and few that start', async () => {
  const { end } = await crowd();
  const names = readdirSync('/proc/self/task').map((task) =>
    readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim(),
  );
  await end();
  assert.equal(names.filter((name) => name === 'skep-reactor').length, 1);
  const pool = names.filter((name) => name === 'skep-pool').length;
  assert.ok(pool >= 1 && pool <= 4, `${pool} threads`);
});

test("a pool of libuv's that is blocked blocks nothing here, and the other way round", async () => {
  // The one thread of the pool is stuck in a FIFO for the whole program.
  const program = `
    import { execFileSync } from 'node:child_process';
    import { open, readFile, writeFile } from 'node:fs';
    import { Engine } from 'skep';
    const [store, image, fifo] = process.argv.slice(1);
    execFileSync('mkfifo', [fifo]);
    let stuck = true;
    open(fifo, 'r', () => (stuck = false));
    let read = false;
    readFile('/proc/self/stat', () => (read = true));
    const engine = await Engine.open(store);
    const runs = Array.from({ length: 20 }, () => engine.run(image, ['cat'], { input: 'x' }));
    const results = await Promise.all(runs);
    const child = await engine.spawn(image, ['echo', 'y']);
    let said = '';
    for await (const bytes of child.stdout) said += bytes;
    await child.wait();
    await engine.close();
    console.log(stuck, read, results.every(({ stdout }) => stdout === 'x'), said.trim());
    execFileSync('sh', ['-c', 'echo >"$1"', 'sh', fifo]);`;
  const fifo = join(store, '..', 'fifo');
  const args = ['--input-type=module', '-e', program, store, IMAGE, fifo];
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    cwd: join(repository, 'bindings-node'),
    env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
  });
  assert.equal(stdout, 'true false true y\n');
});

test('with one thread in its pool, files are read while a hundred waits are pending', async () => {
  const program = `
    import { open, readFile } from 'node:fs/promises';
    import { Engine } from 'skep';
    const [store, image] = process.argv.slice(1);
    const engine = await Engine.open(store);
    let ended = 0;
    const aborts = new AbortController();
    const runs = Array.from({ length: 100 }, () =>
      engine.run(image, ['sleep', '600'], { signal: aborts.signal }).catch(() => ended++));
    const children = await Promise.all(Array.from({ length: 20 }, () => engine.spawn(image, ['cat'])));
    const waits = children.map((child) => child.wait().then(() => ended++));
    for (let i = 0; i < 100; i++) await readFile('/proc/self/stat');
    console.log('read', ended);
    aborts.abort();
    for (const child of children) child.kill();
    await Promise.all([...runs, ...waits]);
    console.log('ended', ended);
    await engine.close();`;
  const args = ['--input-type=module', '-e', program, store, IMAGE];
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    cwd: join(repository, 'bindings-node'),
    env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
  });
  assert.equal(stdout, 'read 0\nended 120\n');
});

test('the event loop turns while an image is read', async () => {
  // A FIFO gives the archive only when this event loop has written it.
  const fifo = join(store, '..', 'root.fifo');
  execFileSync('mkfifo', [fifo]);
  let read = false;
  const importing = engine.images.import(fifo).finally(() => (read = true));
  const [archive] = await Promise.all([open(fifo, 'w'), readFile(tar)]);
  assert.equal(read, false);
  await archive.writeFile(createReadStream(tar));
  await archive.close();
  assert.deepEqual((await importing).id, (await engine.images.find(IMAGE)).id);
});
