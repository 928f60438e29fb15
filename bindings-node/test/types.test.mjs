// The types: what `tsc --strict` accepts runs, and what it is to refuse it refuses.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';

import * as skep from 'skep';
import { repository, rootfs, temporary } from '../testing/support.mjs';

const here = join(repository, 'bindings-node');

test('programs that use everything compile and run, as ESM and as CommonJS', () => {
  // Here, for them to find the package that they are in.
  const compiled = mkdtempSync(join(here, 'skep-types-'));
  after(() => rmSync(compiled, { recursive: true, force: true }));
  const tsc = join(here, 'node_modules/.bin/tsc');
  execFileSync(tsc, ['-p', 'typescript', '--outDir', compiled], { cwd: here, stdio: 'inherit' });
  const directory = temporary();
  for (const name of ['usage.mjs', 'usage.cjs']) {
    const args = [join(compiled, name), join(directory, name), rootfs(directory)];
    // `await using` is TypeScript's to lower here, and the symbol is Node's.
    assert.equal(execFileSync(process.execPath, args, { encoding: 'utf8' }), `${name.replace('js', 'ts')}: ok\n`);
  }
});

test('every class has its types, and every error its code', () => {
  const declared = execFileSync('grep', ['-oP', '^export class \\K\\w+', join(here, 'index.d.ts')], {
    encoding: 'utf8',
  });
  assert.deepEqual(declared.trim().split('\n').sort(), Object.keys(skep).sort());
});
