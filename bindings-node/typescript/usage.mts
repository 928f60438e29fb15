// The interface as TypeScript sees it: compiled and run by test/types.test.mjs.

import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';

import {
  Engine, ExitError, Mount, OutOfMemoryError, PermissionDeniedError, Registries, Root, SkepError,
  TimeoutError,
  type Access, type Change, type Child, type CommitOptions, type Descriptor, type DiskUsage,
  type ExitStatus, type HistoryStep, type Image, type ImageSummary, type Policy, type Pruned,
  type PullOptions, type PullProgress, type PushOptions, type PushProgress, type RunOptions,
  type RunResult, type SpawnOptions, type Usage,
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

{
  const { signal } = new AbortController();
  const base: Image = await engine.images.find('localhost/skep-types:1');
  await using child: Child = await engine.spawn(base, ['touch', '/new'], { keepFiles: true });
  await child.wait();
  const commit: CommitOptions = {
    reference: 'localhost/skep-types:2', config: { Cmd: ['ls'] }, author: 'a', comment: 'b',
    createdBy: 'c', time: new Date(0), maxSize: '1m', signal,
  };
  const made: Image = await child.commit(commit);
  const changes: Change[] = await child.diff();
  assert.deepEqual(changes.at(-1), { kind: 'added', path: '/new' });
  assert.deepEqual(await made.diff(base, { signal }), changes);
  await child.export(`${store}.tar`);
  await made.export(`${store}.tar`, { signal });
  const steps: HistoryStep[] = made.history();
  assert.equal(steps[1]?.createdBy, 'c');
  const squashed: Image = await made.squash({ time: 0 });
  const layers: string[] = await squashed.layers();
  assert.equal(layers.length, 1);
  await engine.images.save([made, 'localhost/skep-types:1'], `${store}.tar`, { format: 'oci' });
  const pruned: Pruned = await engine.images.prune('nameless');
  assert.deepEqual(pruned.images, [squashed.id]);
  const disk: DiskUsage = await engine.images.diskUsage();
  assert.deepEqual(disk.images.map(({ inUse }) => inUse), [true, false]);
}

const access: Record<string, Access> = {
  'localhost:1': { plainHttp: true, mirrors: ['localhost:2/a'], credentials: { user: 'a', password: 'b' } },
  'localhost:2': { plainHttp: true, credentials: { identityToken: 'a' } },
};
const registries = new Registries(access, {
  credentialFiles: [], timeoutMs: 1000, attempts: 1, pauseMs: 1,
});
const policy: Policy = { default: 'accept', prefixes: { 'localhost:1': 'reject' } };
const pull: PullOptions = {
  registries, platform: 'linux/amd64', parallel: 1, unpack: false, maxSize: '1g', policy,
  onProgress({ layer, fetched, total, unpacked }: PullProgress) {
    assert.ok(layer && fetched <= total && !unpacked);
  },
};
const push: PushOptions = {
  registries: access, parallel: 1, chunk: '16m', mountFrom: ['a/b'],
  onProgress: ({ blob, sent, total, done }: PushProgress) => assert.ok(blob && sent <= total && !done),
};
try {
  await engine.images.pull('localhost:1/a:1', pull);
  assert.fail();
} catch (error) {
  assert.ok(error instanceof PermissionDeniedError && error.operation === 'accept');
}
await assert.rejects(engine.images.push(image, 'localhost:1/a:1', push));
const failing: Promise<Descriptor> = registries.resolve('localhost:1/a:1');
await assert.rejects(failing);
const questions: Promise<string[] | void | Descriptor[]>[] = [
  registries.tags('localhost:1/a'), registries.ping('localhost:1'),
  registries.referrers('localhost:1/a:1', { artifactType: 'a/b' }),
];
for (const question of questions) await assert.rejects(question);

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
