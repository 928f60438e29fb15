// Python runs with limits, and its output and what it used are read.
//
// Run as root: `node limits.mjs app.tar [STORE]`.

import { Engine } from 'skep';

const [archive = 'app.tar', store] = process.argv.slice(2);
const engine = await Engine.open(store);
const image = await engine.images.load(archive);

const { status, stdout, usage } = await engine.run(image, ['python3', '-c', 'print(6*7)'], {
  memory: '256m',
  cpus: 0.5,
  pids: 64,
  timeoutMs: 30_000,
});
process.stdout.write(stdout);

const memory = usage.memoryPeak < 256 << 20 ? 'below' : 'not below';
const cpu = usage.cpuTotalMs < 10_000 ? 'under' : 'not under';
console.log(`${status}, memory peak ${memory} 256 MiB, ${cpu} 10 s of CPU`);
await engine.close();
