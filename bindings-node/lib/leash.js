'use strict';

const native = require('./native');
const { Aborts } = require('./abort');
const { abortError } = require('./error');

/**
 * Holds a container, or an operation, from before its start until it is released. An abort of
 * `signal` ends it. It stands in `running` meanwhile, where the garbage collector does not come: let
 * go of, a leash ends what it holds.
 */
class Leash {
  #signal;
  #running;
  #release;

  constructor(signal, running, held = new native.Leash()) {
    this.#signal = signal;
    this.throwIfAborted();
    this.native = held;
    this.released = new Promise((resolve) => (this.#release = resolve));
    this.#running = running.add(this);
    if (signal) Aborts.add(signal, this);
  }

  get aborted() {
    return this.#signal?.aborted === true;
  }

  /** Kills the container, or the one that a start under way is about to make; ends the operation. */
  kill() {
    this.native.kill();
  }

  throwIfAborted() {
    if (this.aborted) throw abortError(this.#signal);
  }

  /** It is over. */
  release() {
    if (this.#signal) Aborts.remove(this.#signal, this);
    this.#running.delete(this);
    this.#release();
  }
}

module.exports = { Leash };
