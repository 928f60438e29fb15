// What the tests share: a store with an image of busybox, and everything temporary.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';

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

/** Fails unless `promise` rejects with an error of `type` that has `properties`; the error. */
export async function rejection(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}
