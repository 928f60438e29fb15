// Both entry points, which are one package.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { test } = require('node:test');

const skep = require('skep');

test('require and import give the same classes', async () => {
  const imported = await import('skep');
  assert.deepEqual(Object.keys(imported).sort(), Object.keys(skep).sort());
  for (const name of Object.keys(skep)) assert.equal(imported[name], skep[name], name);
});

test('it works from CommonJS', async () => {
  const { testEngine, IMAGE } = await import('../testing/support.mjs');
  const { engine } = await testEngine();
  assert.equal((await engine.run(IMAGE, ['echo', 'required'])).stdout, 'required\n');
});

test('every error is one of the base class, with a code and a name of its own', () => {
  const errors = Object.values(skep).filter((type) => type.prototype instanceof skep.SkepError);
  assert.equal(errors.length, 17);
  for (const type of errors) {
    assert.equal(type.prototype.name, type.name);
    const error = new type({ kind: 'NotFound', message: 'm', operation: 'o', subject: 's' });
    assert.ok(error instanceof Error);
    assert.equal(`${error}`, `${type.name}: m`);
    assert.deepEqual(Object.keys(error), ['code', 'kind', 'operation', 'subject']);
  }
});

test('to load it is to do nothing: no thread, no descriptor, no output, no handler', () => {
  const program = `
    const { readdirSync } = require('node:fs');
    const look = () => [readdirSync('/proc/self/task').length, readdirSync('/proc/self/fd').length,
      process.eventNames().length, process._getActiveHandles().length].join();
    const before = look();
    require('skep');
    if (look() !== before) throw new Error(before + ' ' + look());`;
  const said = execFileSync(process.execPath, ['-e', program], { cwd: `${__dirname}/..` });
  assert.equal(said.length, 0);
});
