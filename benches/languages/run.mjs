// Runs `true` once for each line "run", and makes a bare round trip to a thread of libuv's for each line
// "trip"; see benches/src/languages.rs.

import { access } from "node:fs/promises";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// SKEP_NODE_MODULE: where the package is, when it is not installed beside this file.
const { Engine } = createRequire(import.meta.url)(process.env.SKEP_NODE_MODULE ?? "skep");

const [store, tar, image] = process.argv.slice(2);
const engine = await Engine.open(store);
await engine.images.import(tar, image);

async function run() {
  const done = await engine.run(image, ["/bin/true"], { memory: "256m", cpus: 0.5, pids: 64 });
  if (done.code !== 0) throw new Error("true has failed");
}

const rounds = { run, trip: () => access("/") };
for await (const line of createInterface({ input: process.stdin })) {
  const before = process.cpuUsage();
  const start = performance.now();
  await rounds[line]();
  const wall = performance.now() - start;
  const used = process.cpuUsage(before);
  console.log(`${(wall * 1e3).toFixed(1)} ${used.user + used.system}`);
}
