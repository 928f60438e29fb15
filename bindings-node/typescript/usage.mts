// The interface as TypeScript sees it: compiled and run by test/types.test.mjs.

import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';

import {
  Engine, ExitError, Mount, OutOfMemoryError, Root, SkepError, TimeoutError,
  type Child, type ExitStatus, type Image, type ImageSummary, type RunOptions, type RunResult,
  type SpawnOptions, type Usage,
} from 'skep';

const [store, tar] = process.argv.slice(2) as [string, string];
await using engine: Engine = await Engine.open(store);

const image: Image = await engine.images.import(tar, 'localhost/skep-types:1');
const names: readonly string[] = image.references;
assert.deepEqual(names, ['localhost/skep-types:1']);
assert.equal(image.inspect().manifest.schemaVersion, 2);
const list: ImageSummary[] = await engine.images.list();
assert.equal(list[0]?.created, null);

const options: RunOptions = {
  entrypoint: ['sh', '-c'],
  env: { A: '1', B: undefined },
  workingDir: '/srv',
  user: 'bee',
  hostname: 'hive',
  mounts: [Mount.bind('/usr', '/data', { readOnly: true }), Mount.tmpfs('/scratch', { size: '1m' })],
  readOnly: true,
  allowNewPrivileges: false,
  rlimits: { nofile: 1024, core: { soft: 0, hard: Infinity } },
  memory: '64m',
  memorySwap: -1,
  cpus: 0.5,
  pids: 64,
  timeoutMs: 60_000,
  signal: new AbortController().signal,
  input: new TextEncoder().encode('input'),
  check: true,
};
const result: RunResult = await engine.run(image, ['echo $A $HOSTNAME; cat'], options);
const said: string = result.stdout;
assert.equal(said, '1 hive\ninput');
const status: ExitStatus = result.status;
const usage: Usage = status.usage;
const peak: number | null = usage.memoryPeak;
assert.equal(typeof peak, 'number');

const bytes = await engine.run(image, ['echo', 'x'], { encoding: 'buffer' });
const buffer: Buffer = bytes.stdout;
assert.deepEqual(buffer, Buffer.from('x\n'));
const hex: string = (await engine.run(image, ['echo', 'x'], { encoding: 'hex' })).stdout;
assert.equal(hex, '780a');

const spawned: SpawnOptions = { stdin: 'pipe', stdout: 'pipe', stderr: 'inherit' };
{
  await using child: Child = await engine.spawn('localhost/skep-types:1', ['cat'], spawned);
  child.stdin?.end('through');
  assert.ok(child.stdout);
  assert.equal(await text(child.stdout), 'through');
  const end: ExitStatus = await child.wait();
  const atMost: ExitStatus | null = await child.wait({ timeoutMs: 1 });
  assert.equal(end, atMost);
  assert.equal((await child.exit).signal, null);
  child.kill('SIGTERM');
  child.kill(15);
}

try {
  await engine.run(Root.directory('/'), ['sh', '-c', 'exit 3'], { check: true });
  assert.fail();
} catch (error) {
  assert.ok(error instanceof ExitError && error instanceof SkepError);
  const code: number | null = error.status.code;
  assert.equal(code, 3);
  assert.equal(error.code, 'ERR_SKEP_EXIT');
}
assert.ok(TimeoutError.prototype instanceof SkepError);
assert.ok(OutOfMemoryError.prototype instanceof SkepError);
console.log('usage.mts: ok');
