'use strict';

const native = require('./native');
const { STRING, STRINGS, check } = require('./check');
const { Child, asyncDispose } = require('./child');
const { runError, settled, wrongState } = require('./error');
const { ExitStatus } = require('./exit');
const { Images, Store } = require('./image');
const { Leash } = require('./leash');
const { runOptions, spawnOptions } = require('./options');
const { Root } = require('./root');

/** A container engine inside this program. */
class Engine {
  #native;
  /** The leashes of what has not ended. */
  #running = new Set();
  #store = new Store((operation) => this.#opened(operation, 'an image').images, this.#running);
  #images = new Images(this.#store);
  /** Children whose files are kept, for as long as somebody holds them. */
  #keeping = [];
  #closed;

  constructor(opened) {
    if (!(opened instanceof native.Engine)) {
      throw new TypeError('An Engine is made by "await Engine.open()"');
    }
    this.#native = opened;
  }

  static async open(store) {
    if (store !== undefined) check('argument "store"', store, STRING);
    return new Engine(await settled(() => native.Engine.open(store)));
  }

  get images() {
    return this.#images;
  }

  async run(image, args = [], options = {}) {
    const { spec, signal, encoding, check: checked } = runOptions(options);
    const start = this.#prepare('run', image, args, spec);
    const leash = new Leash(signal, this.#running);
    let output;
    try {
      output = await settled(() => start(leash, encoding === 'utf8'));
    } finally {
      leash.release();
      leash.throwIfAborted();
    }
    const result = finished(output, encoding);
    const error = runError(result, image, checked);
    if (error) throw error;
    return result;
  }

  async spawn(image, args = [], options = {}) {
    const { spec, signal } = spawnOptions(options);
    const start = this.#prepare('spawn', image, args, spec);
    const leash = new Leash(signal, this.#running);
    let child;
    try {
      child = new Child(await settled(() => start(leash)), leash, this.#store, spec.keepFiles);
    } catch (error) {
      leash.release();
      leash.throwIfAborted();
      throw error;
    }
    // Aborted while it started: nobody gets to see it.
    if (signal?.aborted) await child[asyncDispose]();
    leash.throwIfAborted();
    if (spec.keepFiles) {
      this.#keeping = this.#keeping.filter((kept) => kept.deref());
      this.#keeping.push(new WeakRef(child));
    }
    return child;
  }

  async close() {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [asyncDispose]() {
    await this.close();
  }

  async #close() {
    const opened = this.#native;
    this.#native = undefined;
    const running = [...this.#running];
    for (const leash of running) leash.kill();
    await Promise.all(running.map((leash) => leash.released));
    await Promise.all(this.#keeping.map((kept) => Child.removeFiles(kept.deref())));
    await settled(() => opened.close());
  }

  #opened(operation, subject) {
    if (this.#native) return this.#native;
    throw wrongState(operation, subject, 'the engine is closed', 'open another');
  }

  /** What starts a container on a leash, once all that it is given is of the right types. */
  #prepare(operation, image, args, spec) {
    const opened = this.#opened(operation, 'a container');
    const target = Root.target(image);
    spec.args = check('argument "args"', args, STRINGS);
    return (leash, ...more) => opened[operation](target, spec, leash.native, ...more);
  }
}

/** What `run` resolves with. */
function finished(output, encoding) {
  const status = new ExitStatus(output.status);
  // Native code has decoded UTF-8.
  const decode = (said) =>
    typeof said === 'string' || encoding === 'buffer' ? said : said.toString(encoding);
  return {
    status,
    code: status.code,
    stdout: decode(output.stdout),
    stderr: decode(output.stderr),
    usage: status.usage,
  };
}

module.exports = { Engine };
