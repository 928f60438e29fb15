// The smallest use: an image, one command, what it says.
//
// Run as root: `node hello.mjs app.tar [STORE]`, where app.tar is what `docker save`, `podman save`
// or `skopeo copy` write, or the directory of an OCI layout.

import { Engine } from 'skep';

const [archive = 'app.tar', store] = process.argv.slice(2);
const engine = await Engine.open(store);
const image = await engine.images.load(archive);

const { stdout } = await engine.run(image, ['echo', 'hello from a container']);
process.stdout.write(stdout);
await engine.close();
