'use strict';

/** Of a signal, what its abort ends. One listener for all: Node warns of more than ten. */
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

module.exports = { Aborts };
