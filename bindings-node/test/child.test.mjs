// Children: streams, signals, ends.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';

import { Child, InvalidInputError, Mount } from 'skep';
import {
  IMAGE, marker, processes, rejection, sleeper, temporary, testEngine, until,
} from '../testing/support.mjs';

const { engine } = await testEngine();

test('streams are sockets over pipes, iterated by line', async () => {
  const child = await engine.spawn(IMAGE, ['sh', '-c', 'while read a; do echo "<$a>"; done; echo bye >&2']);
  assert.ok(child instanceof Child);
  for (const stream of [child.stdin, child.stdout, child.stderr]) assert.ok(stream instanceof Socket);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  for (const word of ['one', 'two', 'three']) {
    child.stdin.write(`${word}\n`);
    assert.equal((await lines.next()).value, `<${word}>`);
  }
  child.stdin.end();
  assert.equal((await lines.next()).done, true);
  assert.equal(await text(child.stderr), 'bye\n');
  assert.equal((await child.wait()).code, 0);
});

test('a hundred megabytes go through both ways', async () => {
  const total = 100_000_000;
  const chunk = Buffer.alloc(100_000, Uint8Array.from({ length: 251 }, (_, index) => index));
  function* chunks() {
    for (let sent = 0; sent < total; sent += chunk.length) yield chunk;
  }
  const [sent, received] = [createHash('sha256'), createHash('sha256')];
  for (const bytes of chunks()) sent.update(bytes);
  const child = await engine.spawn(IMAGE, ['cat'], { stderr: 'ignore' });
  let length = 0;
  await Promise.all([
    pipeline(Readable.from(chunks()), child.stdin),
    pipeline(child.stdout, async (source) => {
      for await (const bytes of source) {
        length += bytes.length;
        received.update(bytes);
      }
    }),
  ]);
  assert.equal(length, total);
  assert.equal(received.digest('hex'), sent.digest('hex'));
  assert.equal((await child.wait()).code, 0);
});

test('what is not read holds the writer up, on either side', async () => {
  const directory = temporary();
  const script = 'i=0; while dd if=/dev/zero bs=64k count=1 2>/dev/null; do i=$((i+1)); echo $i >/out/written; done';
  const mounts = [Mount.bind(directory, '/out')];
  const child = await engine.spawn(IMAGE, ['sh', '-c', script], { mounts });
  // It does not read.
  assert.equal(child.stdin.write(Buffer.alloc(1 << 20)), false);
  await until('the stream is full', () => child.stdout.readableLength >= child.stdout.readableHighWaterMark);
  for (let i = 0; i < 20; i++) await engine.run(IMAGE, ['true']);
  const written = Number(readFileSync(join(directory, 'written'), 'utf8'));
  assert.ok(written <= 8, `${written} times 64 KiB, in a pipe and a stream`);
  assert.ok(child.stdin.writableLength >= (1 << 20) - (64 << 10), 'all but what the pipe holds');
  let length = 0;
  for await (const bytes of child.stdout) if ((length += bytes.length) > 10_000_000) break;
  assert.ok(length > 10_000_000, 'read, it goes on');
  await child[Symbol.asyncDispose]();
});

test('what is written to a container that has closed its input is an error of the stream', async () => {
  const child = await engine.spawn(IMAGE, ['sh', '-c', 'exec <&-; echo closed; sleep 600']);
  await once(child.stdout, 'data');
  child.stdin.write('lost');
  const [error] = await once(child.stdin, 'error');
  assert.equal(error.code, 'EPIPE');
  await child[Symbol.asyncDispose]();
});

test('a container cannot end this process by not reading', async () => {
  const child = await engine.spawn(IMAGE, ['sh', '-c', 'exec <&-; echo closed; sleep 600']);
  await once(child.stdout, 'data');
  const written = new Promise((resolve) => child.stdin.write('lost', resolve));
  assert.equal((await written).code, 'EPIPE');
  assert.equal((await rejection(pipeline(Readable.from(['lost']), child.stdin))).code, 'EPIPE');
  child.kill();
  await child.wait();
});

test('the end is told by wait, by exit and by status', async () => {
  const child = await engine.spawn(IMAGE, ['sh', '-c', 'read a; exit 4']);
  assert.match(child.id, /^[0-9a-f]{32}$/);
  assert.equal(child.status, null);
  assert.equal(await child.wait({ timeoutMs: 1 }), null);
  child.stdin.end('\n');
  const status = await child.wait();
  assert.equal(status.code, 4);
  assert.equal(await child.exit, status);
  assert.equal(child.status, status);
  assert.equal(await child.wait({ timeoutMs: 0 }), status);
  assert.equal(await child.stop(), status);
  child.kill();
  assert.equal(child.status, status);
  assert.deepEqual(await child.usage(), status.usage);
  assert.ok(child.stdin.destroyed);
});

test('signals have names and numbers', async () => {
  const script = 'trap "echo term" TERM; trap "echo usr" USR1; echo; while :; do sleep 0.01; done';
  const child = await engine.spawn(IMAGE, ['sh', '-c', script]);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value;
  await next();
  child.kill('SIGTERM');
  assert.equal(await next(), 'term');
  child.kill(10);
  assert.equal(await next(), 'usr');
  child.kill();
  const status = await child.wait();
  assert.deepEqual([status.reason, status.signal, status.code], ['signaled', 'SIGKILL', null]);
  assert.equal(`${status}`, 'signal 9 (SIGKILL)');
});

test('a stop asks first, and kills after its grace', async () => {
  const polite = await engine.spawn(IMAGE, ['sh', '-c', 'trap "exit 5" TERM; echo; while :; do sleep 0.01; done']);
  await once(polite.stdout, 'data');
  assert.equal((await polite.stop({ graceMs: 60_000 })).code, 5);
  const deaf = await engine.spawn(IMAGE, ['sleep', '600']);
  assert.equal((await deaf.stop({ graceMs: 20 })).signal, 'SIGKILL');
  // Many at once take no thread each.
  const many = await Promise.all(Array.from({ length: 20 }, () => engine.spawn(IMAGE, ['sleep', '600'])));
  const stopped = await Promise.all(many.map((child) => child.stop({ graceMs: 50 })));
  assert.ok(stopped.every(({ signal }) => signal === 'SIGKILL'));
});

test('a child is disposed of with all that it has started', async () => {
  const name = marker();
  const child = await engine.spawn(IMAGE, sleeper(name));
  await until('it runs', () => processes(name).length === 1);
  await child[Symbol.asyncDispose]();
  assert.deepEqual(processes(name), []);
  assert.equal(child.status.signal, 'SIGKILL');
  assert.ok(child.stdin.destroyed && child.stdout.destroyed && child.stderr.destroyed);
  await child[Symbol.asyncDispose]();
});

test('an abort kills a child, whose end is told as any other', async () => {
  const controller = new AbortController();
  const child = await engine.spawn(IMAGE, ['sleep', '600'], { signal: controller.signal });
  controller.abort();
  assert.equal((await child.wait()).signal, 'SIGKILL');
});

test('a timeout of a child is told by its status', async () => {
  const child = await engine.spawn(IMAGE, ['sleep', '600'], { timeoutMs: 50 });
  assert.equal((await child.wait()).reason, 'timed_out');
});

test('usage is told while it runs', async () => {
  const child = await engine.spawn(IMAGE, ['cat'], { memory: '64m' });
  const usage = await child.usage();
  assert.deepEqual(
    Object.keys(usage),
    ['memoryPeak', 'cpuTotalMs', 'cpuUserMs', 'cpuSystemMs', 'oomKills', 'pidsPeak'],
  );
  assert.ok(usage.memoryPeak > 0 && usage.memoryPeak <= 64 << 20);
  child.stdin.end();
  await child.wait();
});

test('what is no signal is refused', async () => {
  const child = await engine.spawn(IMAGE, ['cat']);
  assert.throws(() => child.kill('SIGNONE'), InvalidInputError);
  assert.throws(() => child.kill(2 ** 32 + 9), InvalidInputError);
  assert.throws(() => child.kill(65), { message: 'cannot send signal 65; give a number from 1 to 64' });
  assert.throws(() => child.kill(null), {
    name: 'InvalidInputError',
    message: 'cannot use argument "signal": it is null; give the name of a signal, such as "SIGTERM", or its number',
  });
  const error = await rejection(child.stop({ grace: 1 }));
  assert.equal(error.message, 'cannot use option "grace": there is none of that name; give graceMs');
  await child[Symbol.asyncDispose]();
});
