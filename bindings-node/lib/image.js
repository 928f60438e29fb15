'use strict';

const { STRING, check } = require('./check');
const { settled } = require('./error');

/** An image of a store, as it was when it was found. */
class Image {
  #native;
  #everything;

  constructor(native) {
    this.#native = native;
    this.#everything = JSON.parse(native.inspect());
    const { id, digest, references, size, config } = this.#everything;
    Object.assign(this, { id, digest, references, size, config });
    Object.freeze(this);
  }

  inspect() {
    return structuredClone(this.#everything);
  }

  toString() {
    return this.references[0] ?? this.id;
  }

  /** The root that native code starts from. */
  static root(image) {
    return image.#native.root();
  }
}

/** The images of an engine's store. */
class Images {
  /** Native code's; fails when the engine is closed. */
  #native;

  constructor(native) {
    this.#native = native;
  }

  async load(path) {
    const checked = check('argument "path"', path, STRING);
    return new Image(await settled(() => this.#native('load').load(checked)));
  }

  async loadAll(path) {
    const checked = check('argument "path"', path, STRING);
    const images = await settled(() => this.#native('load').loadAll(checked));
    return images.map((image) => new Image(image));
  }

  async import(tar, reference) {
    const checked = check('argument "tar"', tar, STRING);
    if (reference !== undefined) check('argument "reference"', reference, STRING);
    return new Image(await settled(() => this.#native('import').import(checked, reference)));
  }

  async find(name) {
    const checked = check('argument "name"', name, STRING);
    return new Image(await settled(() => this.#native('find').find(checked)));
  }

  async list() {
    return settled(() => this.#native('list').list());
  }

  async tag(name, reference) {
    check('argument "name"', name, STRING);
    check('argument "reference"', reference, STRING);
    await settled(() => this.#native('tag').tag(name, reference));
  }

  async remove(name) {
    check('argument "name"', name, STRING);
    await settled(() => this.#native('remove').remove(name));
  }
}

module.exports = { Image, Images };
