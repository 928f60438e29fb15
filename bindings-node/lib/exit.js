'use strict';

const { signals } = require('node:os').constants;

const SIGNAL_NAMES = new Map(Object.entries(signals).map(([name, number]) => [number, name]));
// Where one number has several names, the usual one.
for (const name of ['SIGABRT', 'SIGCHLD', 'SIGIO']) SIGNAL_NAMES.set(signals[name], name);

/** How a container ended. */
class ExitStatus {
  #text;

  constructor({ reason, code, signal, usage, text }) {
    this.reason = reason;
    this.code = code;
    // Real-time signals have no names.
    this.signal = SIGNAL_NAMES.get(signal) ?? signal;
    this.usage = usage;
    this.#text = text;
    Object.freeze(this);
    Object.freeze(usage);
  }

  get success() {
    return this.code === 0;
  }

  toString() {
    return this.#text;
  }
}

module.exports = { ExitStatus };
