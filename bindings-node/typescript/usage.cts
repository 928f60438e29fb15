// As usage.mts, from CommonJS: compiled and run by test/types.test.mjs.

import assert = require('node:assert/strict');
import skep = require('skep');

async function main(store: string): Promise<void> {
  const engine: skep.Engine = await skep.Engine.open(store);
  try {
    const { status }: skep.RunResult = await engine.run(skep.Root.host(), ['true']);
    assert.ok(status.success);
  } finally {
    await engine.close();
  }
  console.log('usage.cts: ok');
}

void main(process.argv[2] as string);
