'use strict';

const { Socket } = require('node:net');
const { signals } = require('node:os').constants;

const { MILLISECONDS, SIGNAL: ABORT, STRING, check, checkOptions, isInt32 } = require('./check');
const { commitOptions } = require('./commit');
const { explain, settled } = require('./error');
const { ExitStatus } = require('./exit');
const { Image } = require('./image');

const asyncDispose = Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose');

const SIGNAL = {
  wanted: 'the name of a signal, such as "SIGTERM", or its number',
  is: (value) => isInt32(value) || Object.hasOwn(signals, value),
  convert: (value) => signals[value] ?? value,
};

/** A running container. */
class Child {
  #native;
  #store;
  #keeps;
  #status = null;

  /** `native` has just been started; `leash` holds it to its end. */
  constructor(native, leash, store, keeps = false) {
    this.#native = native;
    this.#store = store;
    this.#keeps = keeps;
    this.id = native.id;
    this.stdin = openPipe(native, 0, { readable: false, writable: true });
    this.stdout = openPipe(native, 1, { readable: true, writable: false });
    this.stderr = openPipe(native, 2, { readable: true, writable: false });
    // What a container does not read is no reason for this process to end. Writers are told.
    this.stdin?.on('error', () => {});
    this.exit = this.#watch(leash);
    // Whoever waits for it hears of a failure.
    this.exit.catch(() => {});
  }

  get status() {
    return this.#status;
  }

  async wait(options = {}) {
    const { timeoutMs } = checkOptions(options, { timeoutMs: MILLISECONDS });
    return timeoutMs === undefined ? this.exit : this.#waitAtMost(timeoutMs);
  }

  kill(signal = 'SIGKILL') {
    const number = check('argument "signal"', signal, SIGNAL);
    try {
      this.#native.signal(number);
    } catch (failure) {
      throw explain(failure);
    }
  }

  async stop(options = {}) {
    const { graceMs = 10_000 } = checkOptions(options, { graceMs: MILLISECONDS });
    this.kill(this.#native.stopSignal);
    const status = await this.#waitAtMost(graceMs);
    if (status) return status;
    this.kill();
    return this.exit;
  }

  async usage() {
    return settled(() => this.#native.usage());
  }

  async commit(options = {}) {
    const { signal, commit } = commitOptions(options);
    const made = await this.#store.operate('commit', { signal }, (_, cancel) =>
      this.#native.commit(cancel, commit),
    );
    return new Image(made, this.#store);
  }

  async diff(options = {}) {
    const { signal } = checkOptions(options, { signal: ABORT });
    return this.#store.operate('compare', { signal }, (_, cancel) => this.#native.diff(cancel));
  }

  async export(path, options = {}) {
    check('argument "path"', path, STRING);
    const { signal } = checkOptions(options, { signal: ABORT });
    await this.#store.operate('export', { signal }, (_, cancel) =>
      this.#native.export(cancel, path),
    );
  }

  async [asyncDispose]() {
    this.kill();
    await this.exit.catch(() => {});
    await Child.removeFiles(this);
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream?.destroy();
  }

  /** Removes what is kept of `child`, which has ended. */
  static async removeFiles(child) {
    if (child?.#keeps) await settled(() => child.#native.removeFiles());
  }

  /** The end; null after `ms`. */
  async #waitAtMost(ms) {
    let timer;
    const passed = new Promise((resolve) => {
      timer = setTimeout(resolve, ms, null);
    });
    try {
      return await Promise.race([this.exit, passed]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #watch(leash) {
    try {
      this.#status = new ExitStatus(await settled(() => this.#native.exit(leash.native)));
      return this.#status;
    } finally {
      // As child_process: what is still to be written, nobody will read.
      this.stdin?.destroy();
      leash.release();
    }
  }
}

/** The stream over a pipe that has not been taken, or null. */
function openPipe(native, number, direction) {
  const fd = native.takePipe(number);
  return fd == null ? null : new Socket({ fd, ...direction });
}

module.exports = { Child, asyncDispose };
