// A hundred sandboxes at once, with a progress bar.
//
// Run as root: `node hundred.mjs app.tar [STORE]`.

import { Engine } from 'skep';

const COUNT = 100;

const [archive = 'app.tar', store] = process.argv.slice(2);
const engine = await Engine.open(store);
const image = await engine.images.load(archive);

let done = 0;
async function sandbox(number) {
  const { stdout } = await engine.run(image, ['echo', String(number)], { pids: 8 });
  done += 1;
  process.stderr.write(`\r[${'#'.repeat((done * 50) / COUNT).padEnd(50)}] ${done}/${COUNT}`);
  return Number(stdout);
}

const numbers = await Promise.all(Array.from({ length: COUNT }, (_, number) => sandbox(number)));
process.stderr.write('\n');
console.log(`${COUNT} sandboxes: sum ${numbers.reduce((sum, number) => sum + number)}`);
await engine.close();
