// What the types refuse.

import {
  Child, Engine, Image, Mount, SkepError,
  type Access, type CommitOptions, type Policy, type PullOptions, type RunOptions,
} from 'skep';

// @ts-expect-error: Engine.open makes one
new Engine();
// @ts-expect-error
new Child();
// @ts-expect-error
new Image();
// @ts-expect-error
new SkepError();
// @ts-expect-error
new Mount();
// @ts-expect-error: a misspelt option
export const misspelt: RunOptions = { memroy: '1g' };
// @ts-expect-error: a number of seconds is no timeout
export const seconds: RunOptions = { timeout: 1 };
// @ts-expect-error: a string is no number
export const cpus: RunOptions = { cpus: '0.5' };
// @ts-expect-error: a run gives nobody a child to commit
export const kept: RunOptions = { keepFiles: true };
// @ts-expect-error: a password without a user
export const password: Access = { credentials: { password: '' } };
// @ts-expect-error: a policy without a default
export const policy: Policy = { prefixes: {} };
// @ts-expect-error: signatures without keys
export const unsigned: Policy = { default: { atLeast: 1 } };
// @ts-expect-error: the name is onProgress
export const progress: PullOptions = { progress: () => {} };
// @ts-expect-error: a time is a Date or milliseconds
export const time: CommitOptions = { time: '2026-01-01' };
export async function wrong(engine: Engine): Promise<void> {
  // @ts-expect-error: one string is no list
  await engine.run('image', 'ls -l');
  // @ts-expect-error: input is for run
  await engine.spawn('image', [], { input: '' });
  // @ts-expect-error: an id is no image to compare with
  await (await engine.images.find('image')).diff('other');
  // @ts-expect-error: one of docker and oci
  await engine.images.save('image', 'file', { format: 'tar' });
  const { stdout } = await engine.run('image', [], { encoding: 'buffer' });
  // @ts-expect-error: a Buffer
  stdout satisfies string;
}
