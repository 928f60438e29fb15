// A server in a container, which the program talks to through its standard streams.
//
// Run as root: `node server.mjs app.tar [STORE]`.

import { createInterface } from 'node:readline';

import { Engine } from 'skep';

// Answers each line with its value. What a sandbox is for: nobody would `eval` that outside.
const SERVER = 'import sys\nfor line in sys.stdin: print(eval(line), flush=True)';

const [archive = 'app.tar', store] = process.argv.slice(2);
const engine = await Engine.open(store);
const image = await engine.images.load(archive);

const server = await engine.spawn(image, ['python3', '-c', SERVER], { stderr: 'inherit' });
const answers = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
for (const question of ['3 + 4', '10 * 10', '2 ** 64']) {
  server.stdin.write(`${question}\n`);
  console.log(`${question} = ${(await answers.next()).value}`);
}
// End of file: the server's loop ends.
server.stdin.end();
console.log(`server ended: ${await server.wait()}`);
await engine.close();
