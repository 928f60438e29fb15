'use strict';

// What bindings-node/src is compiled to.

const { existsSync } = require('node:fs');
const { join } = require('node:path');

const name = `skep.${process.platform}-${process.arch}.node`;
const path = join(__dirname, '..', name);
if (!existsSync(path)) {
  throw new Error(
    `cannot load skep: ${name} is missing; in a checkout, make it with "npm run build", which ` +
      'needs Rust; the published package is for Linux on x86_64 with glibc',
  );
}
module.exports = require(path);
