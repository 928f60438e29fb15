// Carries out the cases of tests/behaviours; its README.md says what they mean.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import {
  Engine, ExitError, Mount, OutOfMemoryError, Registries, SkepError, TimeoutError,
} from 'skep';
import { IMAGE, repository, temporary, testEngine } from '../testing/support.mjs';

const shared = await testEngine();

/** `fields` of `given`, by `table`; what it does not know is a failure. */
function translate(given, table) {
  return Object.assign({}, ...Object.entries(given).map(([key, value]) => {
    assert.ok(Object.hasOwn(table, key), `unknown key ${key}`);
    return table[key](value);
  }));
}

const OPTIONS = {
  image: () => ({}),
  args: () => ({}),
  entrypoint: (entrypoint) => ({ entrypoint }),
  env: (env) => ({ env }),
  working_dir: (workingDir) => ({ workingDir }),
  user: (user) => ({ user }),
  hostname: (hostname) => ({ hostname }),
  mounts: (mounts) => ({ mounts: mounts.map(mount) }),
  read_only: (readOnly) => ({ readOnly }),
  allow_new_privileges: (allowNewPrivileges) => ({ allowNewPrivileges }),
  rlimits: (limits) => ({
    rlimits: Object.fromEntries(
      Object.entries(limits).map(([name, [soft, hard]]) => [name, { soft, hard }]),
    ),
  }),
  memory: (memory) => ({ memory }),
  memory_swap: (memorySwap) => ({ memorySwap }),
  cpus: (cpus) => ({ cpus }),
  pids: (pids) => ({ pids }),
  timeout_ms: (timeoutMs) => ({ timeoutMs }),
  keep_files: (keepFiles) => ({ keepFiles }),
  input: (input) => ({ input }),
  input_pattern: (length) => ({ input: pattern(length) }),
};

function mount(given) {
  const fields = { bind: 0, to: 0, tmpfs: 0, size: 0, read_only: 0 };
  for (const key of Object.keys(given)) assert.ok(Object.hasOwn(fields, key), `unknown key ${key}`);
  const { bind, to, tmpfs, size, read_only: readOnly } = given;
  return bind === undefined
    ? Mount.tmpfs(tmpfs, { size, readOnly })
    : Mount.bind(bind, to, { readOnly });
}

const COMMIT = {
  as: (reference) => ({ reference }),
  author: (author) => ({ author }),
  comment: (comment) => ({ comment }),
  created_by: (createdBy) => ({ createdBy }),
  time: (seconds) => ({ time: new Date(seconds * 1000) }),
  max_size: (maxSize) => ({ maxSize }),
};

const ACCESS = {
  plain_http: (plainHttp) => ({ plainHttp }),
  mirrors: (mirrors) => ({ mirrors }),
  user: () => ({}),
  password: () => ({}),
  ca: (path) => ({ ca: readFileSync(path) }),
};

function registries(given) {
  return new Registries(Object.fromEntries(given.map(({ registry, ...fields }) => {
    const { user, password } = fields;
    const access = translate(fields, ACCESS);
    return [registry, user === undefined ? access : { ...access, credentials: { user, password } }];
  })));
}

const TRANSFER = {
  registries: (given) => ({ registries: registries(given) }),
  platform: (platform) => ({ platform }),
  parallel: (parallel) => ({ parallel }),
  unpack: (unpack) => ({ unpack }),
  chunk: (chunk) => ({ chunk }),
  mount_from: (mountFrom) => ({ mountFrom }),
  max_size: (maxSize) => ({ maxSize }),
  policy: ({ default: otherwise, prefixes, ...unknown }) => {
    assert.deepEqual(unknown, {});
    const each = prefixes.map(({ prefix, require, ...unknown }) => {
      assert.deepEqual(unknown, {});
      return [prefix, requirement(require)];
    });
    return { policy: { default: requirement(otherwise), prefixes: Object.fromEntries(each) } };
  },
};

const SIGNED = {
  keys: (keys) => ({ keys }),
  at_least: (atLeast) => ({ atLeast }),
  identity: (identity) => ({ identity: identity === 'signed_tag' ? 'signedTag' : identity }),
};

const requirement = (given) => (typeof given === 'string' ? given : translate(given, SIGNED));

/** Bytes that repeat after no power of two: 0, 1, ... 250, 0, ... */
function pattern(length) {
  return Buffer.alloc(length, Uint8Array.from({ length: 251 }, (_, index) => index));
}

/** Everything that a run came to, also where it is told of by an error. */
async function output(engine, image, args, options) {
  try {
    return await engine.run(image, args, { ...options, encoding: 'buffer' });
  } catch (error) {
    if ([TimeoutError, OutOfMemoryError, ExitError].some((type) => error instanceof type)) {
      return error;
    }
    throw error;
  }
}

/** What is expected of what has come: a function for each key. */
const EXPECT = {
  reason: ({ status }, expected) => assert.equal(reason(status), expected),
  code: ({ status }, expected) => assert.equal(status.code, expected),
  signal: ({ status }, expected) => assert.equal(signalNumber(status), expected),
  success: ({ status }, expected) => assert.equal(status.success, expected),
  stdout: ({ stdout }, expected) => assert.equal(stdout.toString(), expected),
  stderr: ({ stderr }, expected) => assert.equal(stderr.toString(), expected),
  stdout_contains: ({ stdout }, expected) => assert.ok(stdout.includes(expected), `${stdout}`),
  stderr_contains: ({ stderr }, expected) => assert.ok(stderr.includes(expected), `${stderr}`),
  stdout_pattern: ({ stdout }, expected) => assert.ok(pattern(expected).equals(stdout)),
  stderr_pattern: ({ stderr }, expected) => assert.ok(pattern(expected).equals(stderr)),
  usage: ({ usage, status }, expected) => used(usage ?? status.usage, expected),
  prefix: () => {},
  references: ({ references }, expected, { prefix = '' }) =>
    assert.deepEqual(references.filter((name) => name.startsWith(prefix)).sort(), expected),
  os: ({ image }, expected) => assert.equal(image.inspect().config.os, expected),
  cmd: ({ image }, expected) => assert.deepEqual(image.inspect().config.config?.Cmd ?? null, expected),
  content: ({ content }, expected) => assert.equal(content, expected),
  changes: ({ changes }, expected) => assert.deepEqual(changes, expected),
  history: ({ history }, expected) => assert.deepEqual(history, expected),
  pruned: ({ pruned }, { images, layers, ...unknown }) => {
    assert.deepEqual(unknown, {});
    assert.deepEqual([pruned.images.length, pruned.layers], [images, layers]);
  },
  disk: ({ disk }, { images, in_use: inUse, unneeded, ...unknown }) => {
    assert.deepEqual(unknown, {});
    const used = disk.images.filter((image) => image.inUse).length;
    assert.deepEqual([disk.images.length, used, disk.unneeded], [images, inUse, unneeded]);
  },
  tags: ({ tags }, expected) => assert.deepEqual(tags.sort(), expected),
  referrers: ({ referrers }, expected) => assert.equal(referrers.length, expected),
  digest_of: async ({ digest, engine }, expected) =>
    assert.equal(digest, (await engine.images.find(expected)).digest),
};

const signalNumber = ({ signal }) => constants.signals[signal] ?? signal;

function reason(status) {
  if (status.reason === 'exited') return `exited:${status.code}`;
  return status.reason === 'signaled' ? `signaled:${signalNumber(status)}` : status.reason;
}

const USAGE = {
  memory_peak_min: ({ memoryPeak }, least) => assert.ok(memoryPeak >= least, `${memoryPeak}`),
  memory_peak_max: ({ memoryPeak }, most) => within(memoryPeak, most),
  cpu_ms_min: ({ cpuTotalMs }, least) => assert.ok(cpuTotalMs >= least, `${cpuTotalMs}`),
  cpu_ms_max: ({ cpuTotalMs }, most) => within(cpuTotalMs, most),
  oom_kills_min: ({ oomKills }, least) => assert.ok(oomKills >= least, `${oomKills}`),
  oom_kills_max: ({ oomKills }, most) => within(oomKills, most),
  pids_peak_max: ({ pidsPeak }, most) => within(pidsPeak, most),
};

function within(number, most) {
  assert.notEqual(number, null, 'it was not counted');
  assert.ok(number <= most, `${number}`);
}

function used(usage, expected) {
  for (const [key, value] of Object.entries(expected)) {
    assert.ok(Object.hasOwn(USAGE, key), `unknown key ${key}`);
    USAGE[key](usage, value);
  }
}

async function compare(came, expected) {
  if (expected === null) return assert.equal(came.status, null, 'it is over');
  if ('status' in came) assert.notEqual(came.status, null, 'it still runs');
  for (const [key, value] of Object.entries(expected)) {
    assert.ok(Object.hasOwn(EXPECT, key), `unknown key ${key}`);
    await EXPECT[key](came, value, expected);
  }
}

function compareError(error, { kind, message, message_starts: start, ...unknown }) {
  assert.deepEqual(unknown, {});
  if (!(error instanceof SkepError)) throw error;
  assert.equal(error.kind, kind);
  if (message !== undefined) assert.equal(error.message, message);
  if (start !== undefined) assert.ok(error.message.startsWith(start), error.message);
}

/** Reads a stream bit by bit. */
class Reader {
  #chunks;
  #left = Buffer.alloc(0);

  constructor(stream) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  async line() {
    while (!this.#left.includes('\n') && (await this.#more()));
    const end = this.#left.indexOf('\n');
    const line = this.#left.toString('utf8', 0, end < 0 ? undefined : end);
    this.#left = this.#left.subarray(end < 0 ? this.#left.length : end + 1);
    return line;
  }

  async rest() {
    while (await this.#more());
    return this.#left.toString();
  }

  async #more() {
    const { done, value } = await this.#chunks.next();
    if (!done) this.#left = Buffer.concat([this.#left, value]);
    return !done;
  }
}

/** One passage through a case's steps. */
class Passage {
  #directory = temporary('skep-behaviour-');
  #child;
  #stdout;
  #stderr;

  #engine;
  #tar;

  constructor({ engine, tar }, number) {
    this.#engine = engine;
    this.#tar = tar;
    this.number = number;
  }

  async carryOut(steps) {
    try {
      for (const [index, step] of steps.entries()) {
        await this.#step(this.#replaced(step)).catch((cause) => {
          throw new Error(`step ${index + 1}: ${cause.message}`, { cause });
        });
      }
    } finally {
      await this.#child?.[Symbol.asyncDispose]();
    }
  }

  async #step({ expect, error: expected, ...verbs }) {
    const [[verb, value], ...others] = Object.entries(verbs);
    assert.deepEqual(others, [], 'a step has one verb');
    assert.ok(Object.hasOwn(this.#verbs, verb), `unknown verb ${verb}`);
    let came;
    try {
      came = await this.#verbs[verb](value);
    } catch (error) {
      if (expected) return compareError(error, expected);
      throw error;
    }
    assert.equal(expected, undefined, 'it did not fail');
    if (expect !== undefined) await compare(came, expect);
  }

  #replaced(value) {
    const words = {
      DIR: this.#directory, IMAGE, ROOTFS: this.#tar, ID: this.#child?.id.slice(0, 12), N: this.number,
      REGISTRY: process.env.SKEP_TEST_REGISTRY,
      CLOSED: process.env.SKEP_TEST_REGISTRY_CLOSED,
      CA: process.env.SKEP_TEST_REGISTRY_CA,
    };
    return JSON.parse(JSON.stringify(value), (_, field) =>
      typeof field === 'string'
        ? field.replace(/\$\{([A-Z]+)\}/g, (all, word) => words[word] ?? all)
        : field,
    );
  }

  #verbs = {
    run: (given) => output(this.#engine, given.image ?? IMAGE, given.args, translate(given, OPTIONS)),
    spawn: async (given) => {
      const options = translate(given, OPTIONS);
      this.#child = await this.#engine.spawn(given.image ?? IMAGE, given.args, options);
      this.#stdout = new Reader(this.#child.stdout);
      this.#stderr = new Reader(this.#child.stderr);
    },
    write: (text) =>
      new Promise((resolve, reject) => {
        this.#child.stdin.write(text, (error) => (error ? reject(error) : resolve()));
      }),
    close_stdin: () => void this.#child.stdin.end(),
    read_line: async (expected) => assert.equal(await this.#stdout.line(), expected),
    read_stdout: async (expected) => assert.equal(await this.#stdout.rest(), expected),
    read_stderr: async (expected) => assert.equal(await this.#stderr.rest(), expected),
    signal: (number) => this.#child.kill(number),
    kill: () => this.#child.kill(),
    stop_ms: async (graceMs) => ({ status: await this.#child.stop({ graceMs }) }),
    wait: async () => ({ status: await this.#child.wait() }),
    wait_timeout_ms: async (timeoutMs) => ({ status: await this.#child.wait({ timeoutMs }) }),
    try_wait: () => ({ status: this.#child.status }),
    usage: async () => ({ usage: await this.#child.usage() }),
    drop: () => this.#child[Symbol.asyncDispose](),
    open: async (path) => (await Engine.open(path)).close(),
    image_import: async ({ tar, as, max_size: maxSize, ...unknown }) => {
      assert.deepEqual(unknown, {});
      return imageOf(await this.#engine.images.import(tar, as, { maxSize }));
    },
    image_load: async (path) => imageOf(await this.#engine.images.load(path)),
    image_find: async (name) => imageOf(await this.#engine.images.find(name)),
    image_tag: ({ image, as }) => this.#engine.images.tag(image, as),
    image_remove: (name) => this.#engine.images.remove(name),
    image_list: async () => ({
      references: (await this.#engine.images.list()).flatMap(({ references }) => references),
    }),
    image_save: ({ images, to, format, ...unknown }) => {
      assert.deepEqual(unknown, {});
      return this.#engine.images.save(images, to, { format });
    },
    image_export: async ({ image, to }) => (await this.#engine.images.find(image)).export(to),
    image_diff: async ({ image, base }) => {
      const { images } = this.#engine;
      return changesOf(await (await images.find(image)).diff(await images.find(base)));
    },
    image_history: async (name) => ({
      history: (await this.#engine.images.find(name)).history()
        .map(({ createdBy, comment }) => createdBy || comment || ''),
    }),
    image_squash: async ({ image, ...commit }) => {
      const found = await this.#engine.images.find(image);
      return imageOf(await found.squash(translate(commit, COMMIT)));
    },
    image_pull: async ({ reference, progress = false, ...given }) => {
      const last = new Map();
      const onProgress = progress ? (report) => void last.set(report.layer, report) : undefined;
      const options = { ...translate(given, TRANSFER), onProgress };
      const image = await this.#engine.images.pull(reference, options);
      if (progress) {
        const { layers } = image.inspect().manifest;
        const ends = layers.map(({ digest: layer, size }) =>
          ({ layer, total: size, fetched: size, unpacked: given.unpack !== false }));
        assert.deepEqual(layers.map(({ digest }) => last.get(digest)), ends);
        assert.equal(last.size, new Set(layers.map(({ digest }) => digest)).size);
      }
      return imageOf(image);
    },
    image_push: async ({ image, as, ...given }) => {
      const pushed = await this.#engine.images.push(image, as, translate(given, TRANSFER));
      assert.equal(pushed, (await this.#engine.images.find(image)).digest);
    },
    prune: async (what) => ({ pruned: await this.#engine.images.prune(what) }),
    disk_usage: async () => ({ disk: await this.#engine.images.diskUsage() }),
    registry_ping: ({ registry, registries: given }) => registries(given).ping(registry),
    registry_resolve: async ({ reference, registries: given }) => ({
      digest: (await registries(given).resolve(reference)).digest, engine: this.#engine,
    }),
    registry_tags: async ({ repository, registries: given }) => ({
      tags: await registries(given).tags(repository),
    }),
    registry_referrers: async ({ reference, registries: given }) => ({
      referrers: await registries(given).referrers(reference),
    }),
    commit: async (given) => imageOf(await this.#child.commit(translate(given, COMMIT))),
    diff: async () => changesOf(await this.#child.diff()),
    export: (path) => this.#child.export(path),
    host_write: ({ path, content }) => writeFile(path, content),
    host_read: async (path) => ({ content: await readFile(path, 'utf8') }),
  };
}

const imageOf = (image) => ({ image, references: image.references });

const LETTERS = { added: 'A', changed: 'C', deleted: 'D' };
const changesOf = (changes) => ({
  changes: changes.map(({ kind, path }) => `${LETTERS[kind]} ${path}`),
});

/** One event loop is all of Node's threads here: so many passages at once. */
async function carryOutMany(store, { threads, containers }, steps) {
  let next = 0;
  const work = async () => {
    while (next < containers) await new Passage(store, String(next++)).carryOut(steps);
  };
  await Promise.all(Array.from({ length: threads }, work));
}

const files = join(repository, 'tests/behaviours');
for (const file of (await readdir(files)).filter((name) => name.endsWith('.json')).sort()) {
  const cases = JSON.parse(await readFile(join(files, file), 'utf8'));
  describe(file, () => {
    for (const { name, why, concurrent, own_store: own = false, steps, ...unknown } of cases) {
      test(name, async () => {
        assert.deepEqual(unknown, {});
        const store = own ? await testEngine() : shared;
        await (concurrent
          ? carryOutMany(store, concurrent, steps)
          : new Passage(store, '0').carryOut(steps));
      });
    }
  });
}
