// Builds the addon from its Rust source, beside this file: npm run build [-- --debug]

import { spawnSync } from 'node:child_process';
import { copyFileSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const debug = process.argv.includes('--debug');

function cargo(...args) {
  const stdio = ['inherit', args[0] === 'metadata' ? 'pipe' : 'inherit', 'inherit'];
  const { status, error, stdout } = spawnSync('cargo', args, { cwd: here, stdio });
  if (error) throw new Error('skep is built with Rust: see https://rustup.rs', { cause: error });
  if (status !== 0) process.exit(status ?? 1);
  return stdout;
}

const profile = debug ? [] : ['--release'];
// Its debugging information is ten times its size.
cargo('rustc', '--package', 'skep-node', '--lib', ...profile, '--', '-C', 'strip=symbols');
const { target_directory: target } = JSON.parse(
  cargo('metadata', '--format-version', '1', '--no-deps', '--offline'),
);
const built = join(target, debug ? 'debug' : 'release', 'libskep_node.so');
const addon = join(here, `skep.${process.platform}-${process.arch}.node`);
// Beside and renamed: a process may have the old one in use.
copyFileSync(built, `${addon}.new`);
renameSync(`${addon}.new`, addon);
