// What the tests share: a store with an image of busybox, and everything temporary.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { Engine } from 'skep';

export const IMAGE = 'localhost/skep-behaviours:1';
export const repository = fileURLToPath(new URL('../..', import.meta.url));

/** A new directory, removed after the tests of this file. */
export function temporary(prefix = 'skep-node-') {
  const path = mkdtempSync(join(tmpdir(), prefix));
  after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The root file system's tar: SKEP_TEST_ROOTFS, or made in `directory`. */
export function rootfs(directory) {
  if (process.env.SKEP_TEST_ROOTFS) return process.env.SKEP_TEST_ROOTFS;
  const path = join(directory, 'root.tar');
  execFileSync('sh', [join(repository, 'tests/behaviours/rootfs.sh'), path]);
  return path;
}

/** An engine on a new store that has IMAGE; closed and removed after the tests of this file. */
export async function testEngine() {
  const directory = temporary();
  const tar = rootfs(directory);
  const store = join(directory, 'store');
  const engine = await Engine.open(store);
  after(() => engine.close());
  await engine.images.import(tar, IMAGE);
  return { engine, directory, store, tar };
}

/** What `promise` rejects with. */
export async function rejection(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}

/** Waits until `condition` holds. */
export async function until(what, condition) {
  const deadline = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`in vain: ${what}`);
    await delay(2);
  }
}

/** The ids of the processes of this machine that have `marker` among their arguments. */
export function processes(marker) {
  return readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(marker);
    } catch {
      return false;
    }
  });
}

let markers = 0;

/** An argument that no other process has. */
export const marker = () => `skep-node-${process.pid}-${markers++}`;

/** A command that sleeps, with `marker` among its arguments. */
export const sleeper = (marker) => ['sh', '-c', 'while :; do sleep 600; done', marker];
