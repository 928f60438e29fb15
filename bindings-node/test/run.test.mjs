// Runs: results, encodings, errors and aborts.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import {
  Engine, ExitError, InvalidStateError, NotFoundError, OutOfMemoryError, Root, SkepError,
  TimeoutError,
} from 'skep';
import {
  IMAGE, marker, processes, rejection, repository, sleeper, temporary, testEngine, until,
} from '../testing/support.mjs';

const { engine, store } = await testEngine();

test('a result has what the container said, how it ended and what it used', async () => {
  const result = await engine.run(IMAGE, ['sh', '-c', 'echo out; echo err >&2; exit 3']);
  assert.deepEqual(Object.keys(result), ['status', 'code', 'stdout', 'stderr', 'usage']);
  const { status, code, stdout, stderr, usage } = result;
  assert.deepEqual([code, stdout, stderr], [3, 'out\n', 'err\n']);
  assert.deepEqual({ ...status, usage: null }, { reason: 'exited', code: 3, signal: null, usage: null });
  assert.equal(status.success, false);
  assert.equal(`${status}`, 'exit code 3');
  assert.equal(status.usage, usage);
  assert.ok(usage.cpuTotalMs > 0);
  assert.ok(Object.isFrozen(status) && Object.isFrozen(usage));
});

test('streams are text unless bytes are asked for', async () => {
  const args = ['printf', '\\377ü'];
  assert.equal((await engine.run(IMAGE, args)).stdout, '\ufffdü');
  // All of it as Buffers have it, a mark at the front and what is cut off included.
  for (const bytes of ['efbbbf78', '78e282', 'f09f98', 'eda080', '00c3bc00', '']) {
    const input = Buffer.from(bytes, 'hex');
    assert.equal((await engine.run(IMAGE, ['cat'], { input })).stdout, input.toString());
    assert.equal((await engine.run(IMAGE, ['cat'], { input, encoding: 'hex' })).stdout, bytes);
  }
  const { stdout, stderr } = await engine.run(IMAGE, args, { encoding: 'buffer' });
  assert.deepEqual(stdout, Buffer.from([0xff, 0xc3, 0xbc]));
  assert.ok(Buffer.isBuffer(stderr));
  assert.equal((await engine.run(IMAGE, args, { encoding: 'hex' })).stdout, 'ffc3bc');
});

test('input is text or bytes, and a view of them', async () => {
  const bytes = new TextEncoder().encode('-bytes-');
  for (const input of ['bytes', bytes.subarray(1, 6), Buffer.from('bytes')]) {
    assert.equal((await engine.run(IMAGE, ['cat'], { input })).stdout, 'bytes');
  }
});

test('a root is an image, its id, a directory or the host', async () => {
  const image = await engine.images.find(IMAGE);
  for (const root of [image, image.id, image.id.slice(7, 19), `${image}`, Root.host(), Root.directory('/')]) {
    assert.equal((await engine.run(root, ['echo', 'x'])).stdout, 'x\n');
  }
  assert.equal(`${Root.host()}`, 'the host');
});

test('streams go to files, to nothing and to the streams of this process', async () => {
  const path = join(temporary(), 'out');
  const fd = openSync(path, 'w');
  const run = engine.run(IMAGE, ['sh', '-c', 'cat; echo out; echo err >&2'], {
    stdin: 'ignore', stdout: fd, stderr: 'ignore',
  });
  // It has a duplicate.
  closeSync(fd);
  assert.deepEqual([(await run).stdout, (await run).stderr], ['', '']);
  assert.equal(readFileSync(path, 'utf8'), 'out\n');
  const file = await open(path);
  try {
    assert.equal((await engine.run(IMAGE, ['cat'], { stdin: file })).stdout, 'out\n');
  } finally {
    await file.close();
  }
});

test('a stream that is inherited is that of this process', () => {
  const program = `
    const { Engine } = require('skep');
    Engine.open(process.argv[1]).then(async (engine) => {
      const streams = { stdin: 'inherit', stdout: 'inherit', stderr: 'inherit' };
      const child = await engine.spawn(${JSON.stringify(IMAGE)}, ['sh', '-c', 'cat; echo err >&2'], streams);
      console.assert(child.stdin === null && child.stdout === null && child.stderr === null);
      await child.wait();
      await engine.close();
    });`;
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', program, store], {
    cwd: join(repository, 'bindings-node'), input: 'in\n', encoding: 'utf8',
  });
  assert.deepEqual([stdout, stderr], ['in\n', 'err\n']);
});

test('a stream that is inherited waits for a slow reader, also where Node made it non-blocking', () => {
  const program = `
    const { Engine } = require('skep');
    // The first use of process.stdout makes the pipe non-blocking.
    console.log('');
    Engine.open(process.argv[1]).then(async (engine) => {
      for (const stdout of ['inherit', 1, process.stdout]) {
        const args = ['sh', '-c', 'dd if=/dev/zero bs=64k count=20 2>/dev/null'];
        const { code } = await engine.run(${JSON.stringify(IMAGE)}, args, { stdout });
        console.error(code);
      }
      await engine.close();
    });`;
  // Nobody reads before the pipe is full.
  const { stdout, stderr } = spawnSync(
    'sh', ['-c', '"$@" | { sleep 0.2; wc -c; }', 'sh', process.execPath, '-e', program, store],
    { cwd: join(repository, 'bindings-node'), encoding: 'utf8' },
  );
  assert.deepEqual([Number(stdout), stderr], [1 + 3 * 20 * 65_536, '0\n0\n0\n']);
});

test('a timeout and want of memory are errors that carry what came before', async () => {
  const said = 'echo out; echo err >&2;';
  const late = await rejection(
    engine.run(IMAGE, ['sh', '-c', `${said} exec sleep 600`], { timeoutMs: 300 }),
  );
  assert.ok(late instanceof TimeoutError && late instanceof SkepError);
  assert.equal(late.message, `cannot run ${IMAGE}: killed after its timeout; allow it a longer timeoutMs`);
  const properties = ['name', 'code', 'kind', 'operation', 'subject', 'stdout', 'stderr'];
  const of = (error) => properties.map((name) => error[name]);
  assert.deepEqual(of(late), [
    'TimeoutError', 'ERR_SKEP_TIMED_OUT', 'TimedOut', 'run', IMAGE, 'out\n', 'err\n',
  ]);
  assert.deepEqual([late.status.reason, late.status.signal], ['timed_out', 'SIGKILL']);
  assert.equal(late.usage, late.status.usage);

  const dd = `${said} exec dd if=/dev/zero of=/dev/null bs=64M count=1`;
  const greedy = await rejection(
    engine.run(IMAGE, ['sh', '-c', dd], { memory: '16m', encoding: 'buffer' }),
  );
  assert.ok(greedy instanceof OutOfMemoryError);
  assert.deepEqual(of(greedy), [
    'OutOfMemoryError', 'ERR_SKEP_OUT_OF_MEMORY', 'OutOfMemory', 'run', IMAGE,
    Buffer.from('out\n'), Buffer.from('err\n'),
  ]);
  assert.equal(greedy.message, `cannot run ${IMAGE}: killed for want of memory; allow it more memory`);
  assert.ok(greedy.usage.oomKills > 0);
});

test('an exit code is an error if that is asked for', async () => {
  const args = ['sh', '-c', 'echo trouble >&2; exit 3'];
  const error = await rejection(engine.run(IMAGE, args, { check: true }));
  assert.ok(error instanceof ExitError);
  assert.equal(error.message, `cannot run ${IMAGE}: exit code 3`);
  assert.deepEqual([error.code, error.kind, error.status.code], ['ERR_SKEP_EXIT', 'Exit', 3]);
  assert.deepEqual([error.stdout, error.stderr], ['', 'trouble\n']);
  assert.equal((await engine.run(IMAGE, ['true'], { check: true })).code, 0);
});

test('errors are core\'s, and their stacks lead to the caller', async () => {
  async function caller() {
    await engine.run(IMAGE, ['no-such-command']);
  }
  const error = await rejection(caller());
  assert.ok(error instanceof NotFoundError && error instanceof SkepError);
  assert.match(error.message, /^cannot execute no-such-command: there is no such command/);
  assert.deepEqual(
    [error.name, error.code, error.kind, error.operation, error.subject, error.errno],
    ['NotFoundError', 'ERR_SKEP_NOT_FOUND', 'NotFound', 'execute', 'no-such-command', 2],
  );
  assert.match(error.stack, /^NotFoundError: cannot execute/);
  assert.match(error.stack, /at async caller .*run\.test\.mjs/);
  assert.match((await rejection(engine.images.find('none'))).stack, /at async Images\.find/);
});

test('an aborted signal kills the container and rejects with an AbortError', async () => {
  const [name, controller, reason] = [marker(), new AbortController(), new Error('enough')];
  const run = engine.run(IMAGE, sleeper(name), { signal: controller.signal });
  await until('it runs', () => processes(name).length === 1);
  controller.abort(reason);
  const error = await rejection(run);
  assert.deepEqual([error.name, error.code, error.cause], ['AbortError', 'ABORT_ERR', reason]);
  assert.match(error.message, /aborted/);
  assert.deepEqual(processes(name), []);
});

test('a signal that is aborted before or during the start lets nothing run', async () => {
  const early = await rejection(engine.run(IMAGE, ['true'], { signal: AbortSignal.abort() }));
  assert.deepEqual([early.name, early.code, early.cause.name], ['AbortError', 'ABORT_ERR', 'AbortError']);
  for (const start of [engine.run, engine.spawn]) {
    for (let turns = 0; turns < 20; turns++) {
      const [name, controller] = [marker(), new AbortController()];
      const started = start.call(engine, IMAGE, sleeper(name), { signal: controller.signal });
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
      controller.abort();
      const [{ status, reason, value: child }] = await Promise.allSettled([started]);
      // Once started, a child's end is told by itself.
      if (start === engine.spawn && status === 'fulfilled') {
        assert.equal((await child.wait()).signal, 'SIGKILL');
      } else {
        assert.equal(reason.code, 'ABORT_ERR');
      }
      assert.deepEqual(processes(name), []);
    }
  }
});

test('a signal that is not aborted is left as it was', async () => {
  const { signal } = new AbortController();
  for (let i = 0; i < 20; i++) await engine.run(IMAGE, ['true'], { signal });
  const child = await engine.spawn(IMAGE, ['true'], { signal });
  await child.wait();
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('one signal is enough for many', async () => {
  const [controller, warnings] = [new AbortController(), []];
  const warned = (warning) => warnings.push(warning);
  process.on('warning', warned);
  const runs = Array.from({ length: 20 }, () =>
    rejection(engine.run(IMAGE, ['sleep', '600'], { signal: controller.signal })),
  );
  await new Promise(setImmediate);
  controller.abort();
  assert.ok((await Promise.all(runs)).every(({ code }) => code === 'ABORT_ERR'));
  process.off('warning', warned);
  assert.deepEqual(warnings, []);
});

test('a closed engine kills what runs, and refuses what comes', async () => {
  const other = await Engine.open(store);
  const names = [marker(), marker()];
  const run = other.run(IMAGE, sleeper(names[0]));
  const child = await other.spawn(IMAGE, sleeper(names[1]));
  const starting = Promise.allSettled([other.spawn(IMAGE, sleeper(names[1]))]);
  await until('it runs', () => processes(names[0]).length === 1);
  await Promise.all([other.close(), other.close()]);
  assert.deepEqual(names.flatMap(processes), []);
  assert.equal((await run).status.signal, 'SIGKILL');
  assert.equal(child.status.signal, 'SIGKILL');
  const [started] = await starting;
  if (started.status === 'rejected') assert.ok(started.reason instanceof InvalidStateError);
  else assert.equal(started.value.status.signal, 'SIGKILL');
  const error = await rejection(other.run(IMAGE, ['true']));
  assert.ok(error instanceof InvalidStateError);
  assert.equal(error.message, 'cannot run a container: the engine is closed; open another');
  assert.ok((await rejection(other.images.list())) instanceof InvalidStateError);
  await other[Symbol.asyncDispose]();
});

test('a hundred run at once', async () => {
  const numbers = Array.from({ length: 100 }, (_, number) => String(number));
  const results = await Promise.all(numbers.map((number) => engine.run(IMAGE, ['echo', number])));
  assert.deepEqual(results.map(({ stdout }) => stdout.trim()), numbers);
});
