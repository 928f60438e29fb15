// The host contract, from Node: what the process that has an engine in it may do meanwhile.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';

import { Engine } from 'skep';
import {
  IMAGE, marker, processes, repository, sleeper, temporary, testEngine, until,
} from '../testing/support.mjs';

const { engine, store } = await testEngine();
const here = join(repository, 'bindings-node');

/** A Node program with `skep`, `store`, `image` and `name` at hand, in this package. */
function program(body) {
  return `const { Engine } = require('skep');
    const [store, image, name] = process.argv.slice(1);
    (async () => { const engine = await Engine.open(store); ${body} })();`;
}

const node = (body, name, options) =>
  spawn(process.execPath, ['-e', program(body), store, IMAGE, name], {
    cwd: here, stdio: ['pipe', 'pipe', 'inherit'], ...options,
  });

const SLEEPER = JSON.stringify(sleeper('NAME')).replace('"NAME"', 'name');

test('child_process works beside, and so do its signals and ends', async () => {
  const exec = promisify(execFile);
  const both = Array.from({ length: 30 }, async (_, number) => {
    const own = exec('sh', ['-c', `echo ${number}; exit 0`]);
    const skep = engine.run(IMAGE, ['sh', '-c', `echo ${number}; exit 3`]);
    assert.equal((await own).stdout, `${number}\n`);
    assert.deepEqual([(await skep).stdout, (await skep).code], [`${number}\n`, 3]);
  });
  await Promise.all(both);
  const child = spawn('sleep', ['600']);
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [null, 'SIGTERM']);
  assert.equal(spawnSync('false').status, 1);
});

test('nothing of an engine is open in a child process', async () => {
  const program = `require('child_process').spawnSync('ls', ['-l', '/proc/self/fd'], { stdio: 'inherit' });`;
  const list = (code) =>
    execFileSync(process.execPath, ['-e', code, store, IMAGE], { cwd: here, encoding: 'utf8' })
      .split('\n').map((line) => line.split(' ')[8]);
  const open = list(`const { Engine } = require('skep');
    const [store, image] = process.argv.slice(1);
    Engine.open(store).then(async (engine) => {
      const child = await engine.spawn(image, ['cat']);
      ${program}
      await engine.close();
    });`);
  assert.deepEqual(open, list(program));
});

test('the process is as it was', async () => {
  const look = () => {
    const status = readFileSync('/proc/self/status', 'utf8');
    const signals = ['SigBlk', 'SigIgn', 'SigCgt', 'NoNewPrivs', 'Seccomp', 'Umask', 'CapEff'];
    return [
      ...signals.map((name) => status.match(new RegExp(`^${name}:.*$`, 'm'))[0]),
      process.cwd(), JSON.stringify(process.env), readFileSync('/proc/self/limits', 'utf8'),
      readFileSync('/proc/self/oom_score_adj', 'utf8'), readFileSync('/proc/self/mountinfo', 'utf8'),
      process.eventNames().sort().join(),
    ];
  };
  const before = look();
  const child = await engine.spawn(IMAGE, ['cat']);
  await engine.run(IMAGE, ['true']);
  assert.deepEqual(look(), before);
  await child[Symbol.asyncDispose]();
});

test('nothing is left open: descriptors are as many as before', async () => {
  const count = () => readdirSync('/proc/self/fd').length;
  const turn = async () => {
    await Promise.all(Array.from({ length: 20 }, () => engine.run(IMAGE, ['cat'], { input: 'x' })));
    const child = await engine.spawn(IMAGE, ['cat']);
    await child[Symbol.asyncDispose]();
    const other = await Engine.open(store);
    await other.run(IMAGE, ['true']);
    await other.close();
    // Their handles are closed in a later turn.
    await new Promise(setImmediate);
  };
  await turn();
  const before = count();
  for (let i = 0; i < 5; i++) await turn();
  await until('as many as before', () => count() <= before);
});

for (const [how, body] of [
  ['process.exit', 'process.exit(7)'],
  ['an exception', 'setImmediate(() => { throw new Error("meant") })'],
  ['SIGKILL', 'process.kill(process.pid, "SIGKILL")'],
  ['process.abort', 'process.abort()'],
]) {
  test(`${how} with containers that run ends them`, async () => {
    const name = marker();
    const host = node(
      `engine.run(image, ${SLEEPER}); const child = await engine.spawn(image, ${SLEEPER});
       process.stdout.write('ready'); process.stdin.once('data', () => { ${body} });`,
      name,
      { stdio: ['pipe', 'pipe', 'ignore'] },
    );
    await once(host.stdout, 'data');
    await until('both run', () => processes(name).length >= 3);
    host.stdin.write('go');
    await once(host, 'exit');
    await until('they have ended', () => processes(name).length === 0);
  });
}

test('a program that is done ends, and waits for what it has started', async () => {
  const host = node(`const child = await engine.spawn(image, ['sh', '-c', 'read a; exit 4']);
    child.exit.then(({ code }) => console.log('code', code));
    process.stdin.once('data', () => { child.stdin.end('\\n'); process.stdin.destroy(); });
    console.log('ready');`, marker());
  let said = '';
  host.stdout.on('data', (bytes) => {
    said += bytes;
    if (said === 'ready\n') host.stdin.end('go');
  });
  assert.deepEqual(await once(host, 'exit'), [0, null]);
  assert.equal(said, 'ready\ncode 4\n');
});

test('an engine that is not closed keeps no program alive, and leaves nothing', async () => {
  const own = join(temporary(), 'store');
  const { status, stderr } = spawnSync(process.execPath, ['-e', program(`
    await engine.run(require('skep').Root.host(), ['true']);`), own], { cwd: here, encoding: 'utf8' });
  assert.deepEqual([status, stderr], [0, '']);
  const next = await Engine.open(own);
  assert.deepEqual(readdirSync(join(own, 'attached')), []);
  await next.close();
});

test('garbage is collected without harm: what runs goes on, what is over is let go', async () => {
  const name = marker();
  const host = spawn(process.execPath, ['--expose-gc', '-e', program(`
    let run = engine.run(image, ['sh', '-c', 'read a; echo ran'], { stdin: 0 });
    const said = run.then(({ stdout }) => stdout);
    run = null;
    let ended = 0;
    for (let i = 0; i < 10; i++) {
      engine.spawn(image, ['sleep', '0.2']).then((child) => child.exit).then(({ code }) => (ended += code === 0));
    }
    for (let i = 0; i < 20; i++) {
      await (await Engine.open(store)).run(image, ['true']);
      gc();
      await new Promise(setImmediate);
    }
    console.log('ready');
    console.log((await said).trim());
    while (ended < 10) await new Promise(setImmediate);
    console.log(ended);
    engine.close();`), store, IMAGE, name], { cwd: here, stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  host.stdout.on('data', (bytes) => {
    said += bytes;
    if (said === 'ready\n') host.stdin.end('go\n');
  });
  assert.deepEqual(await once(host, 'exit'), [0, null]);
  assert.equal(said, 'ready\nran\n10\n');
});

const WORKER = `
  const { workerData: { store, image, name, mode }, parentPort } = require('node:worker_threads');
  const { Engine } = require('skep');
  (async () => {
    const engine = await Engine.open(store);
    if (mode === 'work') {
      const results = await Promise.all(Array.from({ length: 10 }, (_, n) => engine.run(image, ['echo', String(n)])));
      await engine.close();
      return parentPort.postMessage(results.map(({ stdout }) => Number(stdout)).join());
    }
    const all = Array.from({ length: 5 }, () => engine.run(image, ${SLEEPER}));
    for (let i = 0; i < 5; i++) await engine.spawn(image, ${SLEEPER});
    if (mode === 'burst') for (let i = 0; i < 20; i++) all.push(engine.spawn(image, ${SLEEPER}));
    parentPort.postMessage('ready');
    await Promise.all(all);
  })();`;

const worker = (mode, name) =>
  new Worker(WORKER, { eval: true, workerData: { store, image: IMAGE, name, mode } });

test('several workers have engines on one store', async () => {
  const workers = Array.from({ length: 4 }, () => worker('work'));
  const messages = workers.map(async (worker) => (await once(worker, 'message'))[0]);
  assert.deepEqual(await Promise.all(messages), Array(4).fill('0,1,2,3,4,5,6,7,8,9'));
  const ends = workers.map(async (worker) => worker.threadId === -1 || once(worker, 'exit'));
  await Promise.all(ends);
  assert.equal((await engine.run(IMAGE, ['echo', 'here'])).stdout, 'here\n');
});

for (const mode of ['steady', 'burst']) {
  test(`a worker that is terminated leaves no container: ${mode}`, async () => {
    for (let round = 0; round < 5; round++) {
      const name = marker();
      const terminated = worker(mode, name);
      await once(terminated, 'message');
      assert.equal(await terminated.terminate(), 1);
      await until('its containers have ended', () => processes(name).length === 0);
    }
    assert.equal((await engine.run(IMAGE, ['echo', 'here'])).stdout, 'here\n');
  });
}

test('a worker whose module alone has loaded the package may end', async () => {
  // In a process in which nothing else holds the addon.
  const main = `
    const { Worker } = require('node:worker_threads');
    const [store, image] = process.argv.slice(1);
    const workerData = { store, image, mode: 'work' };
    let rounds = 5;
    (function next() {
      if (rounds-- === 0) return console.log('done');
      const worker = new Worker(${JSON.stringify(WORKER)}, { eval: true, workerData });
      worker.on('exit', next);
    })();`;
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', main, store, IMAGE], { cwd: here });
  assert.equal(stdout, 'done\n');
});

test('processes of a cluster have engines of their own', async () => {
  const main = `
    const cluster = require('node:cluster');
    const { once } = require('node:events');
    const { Engine } = require('skep');
    const [store, image] = process.argv.slice(2);
    (async () => {
      const engine = await Engine.open(store);
      const { stdout } = await engine.run(image, ['echo', cluster.isPrimary ? 'primary' : 'worker']);
      if (cluster.isPrimary) {
        const child = await engine.spawn(image, ['cat']);
        const messages = [cluster.fork(), cluster.fork()].map((worker) => once(worker, 'message'));
        for (const [said] of await Promise.all(messages)) process.stdout.write(said);
        child.stdin.end();
        process.stdout.write(stdout + (await child.wait()) + '\\n');
        await engine.close();
      } else {
        process.send(stdout, () => process.disconnect());
        await engine.close();
      }
    })();`;
  const path = join(temporary(), 'cluster.cjs');
  writeFileSync(path, main.replace("'skep'", JSON.stringify(join(here, 'lib/index.js'))));
  const { stdout } = await promisify(execFile)(process.execPath, [path, store, IMAGE]);
  assert.equal(stdout, 'worker\nworker\nprimary\nexit code 0\n');
});
