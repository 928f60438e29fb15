'use strict';

const native = require('./native');
const { abortError } = require('./error');

/** Of a signal, what its abort kills. One listener for all: Node warns of more than ten. */
class Aborts {
  static #ofSignals = new WeakMap();
  #leashes = new Set();
  #listener = () => {
    for (const leash of this.#leashes) leash.kill();
  };

  static add(signal, leash) {
    let aborts = Aborts.#ofSignals.get(signal);
    if (!aborts) Aborts.#ofSignals.set(signal, (aborts = new Aborts()));
    if (aborts.#leashes.size === 0) signal.addEventListener('abort', aborts.#listener);
    aborts.#leashes.add(leash);
  }

  static remove(signal, leash) {
    const aborts = Aborts.#ofSignals.get(signal);
    aborts.#leashes.delete(leash);
    if (aborts.#leashes.size === 0) signal.removeEventListener('abort', aborts.#listener);
  }
}

/**
 * Holds a container from before its start until it is released. An abort of `signal` kills it.
 * It stands in `running` meanwhile, where the garbage collector does not come: let go of, a leash
 * kills its container.
 */
class Leash {
  #signal;
  #running;
  #release;

  constructor(signal, running) {
    this.#signal = signal;
    this.throwIfAborted();
    this.native = new native.Leash();
    this.released = new Promise((resolve) => (this.#release = resolve));
    this.#running = running.add(this);
    if (signal) Aborts.add(signal, this);
  }

  /** Kills the container, or the one that a start under way is about to make. */
  kill() {
    this.native.kill();
  }

  throwIfAborted() {
    if (this.#signal?.aborted) throw abortError(this.#signal);
  }

  /** There is no container any more. */
  release() {
    if (this.#signal) Aborts.remove(this.#signal, this);
    this.#running.delete(this);
    this.#release();
  }
}

module.exports = { Leash };
