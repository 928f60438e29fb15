// What the types refuse.

import { Child, Engine, Image, Mount, SkepError, type RunOptions } from 'skep';

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
export async function wrong(engine: Engine): Promise<void> {
  // @ts-expect-error: one string is no list
  await engine.run('image', 'ls -l');
  // @ts-expect-error: input is for run
  await engine.spawn('image', [], { input: '' });
  const { stdout } = await engine.run('image', [], { encoding: 'buffer' });
  // @ts-expect-error: a Buffer
  stdout satisfies string;
}
