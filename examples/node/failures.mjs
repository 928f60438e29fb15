// What it looks like when a container fails: memory, time, an exit code, no such command.
//
// Run as root: `node failures.mjs app.tar [STORE]`.

import { Engine, ExitError, NotFoundError, OutOfMemoryError, TimeoutError } from 'skep';

const [archive = 'app.tar', store] = process.argv.slice(2);
const engine = await Engine.open(store);
const image = await engine.images.load(archive);

/** The error of `type` with which a run of Python fails. */
async function failure(type, code, options) {
  try {
    await engine.run(image, ['python3', '-c', code], options);
  } catch (error) {
    // It also has stdout, stderr and usage.
    if (error instanceof type) return error;
    throw error;
  }
  throw new Error('it has not failed');
}

const greedy = await failure(OutOfMemoryError, 'bytearray(1 << 30)', { memory: '64m' });
console.log(`memory: ${greedy.status}`);

const slow = await failure(TimeoutError, 'while True: pass', { timeoutMs: 200 });
console.log(`timeout: ${slow.status}`);

// An exit code is a result unless `check` makes it an error.
const failed = await failure(ExitError, 'raise SystemExit(3)', { check: true });
console.log(`exit: ${failed.status}`);

try {
  await engine.run(image, ['no-such-command']);
} catch (error) {
  if (!(error instanceof NotFoundError)) throw error;
  console.log(`missing: ${error.message}`);
}
await engine.close();
