'use strict';

const native = require('./native');
const { abortError } = require('./error');

/**
 * Holds a container from before its start until it is released. An abort of `signal` kills it.
 * It stands in `running` meanwhile, where the garbage collector does not come: let go of, a leash
 * kills its container.
 */
class Leash {
  #signal;
  #running;
  #onAbort = () => this.kill();
  #release;

  constructor(signal, running) {
    this.#signal = signal;
    this.throwIfAborted();
    this.native = new native.Leash();
    this.released = new Promise((resolve) => (this.#release = resolve));
    this.#running = running.add(this);
    signal?.addEventListener('abort', this.#onAbort, { once: true });
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
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#running.delete(this);
    this.#release();
  }
}

module.exports = { Leash };
