'use strict';

const {
  BOOLEAN, COUNT, FUNCTION, SIGNAL, SIZE, STRING, STRINGS,
  check, checkOptions, isArrayOf, isString,
} = require('./check');
const { commitOptions } = require('./commit');
const { settled } = require('./error');
const { operate, operateAndReport } = require('./operation');
const { POLICY } = require('./policy');
const { REGISTRIES, Registries } = require('./registry');

/** The options of what may take long and has no others. */
const LONG = { signal: SIGNAL };

/** And of what brings images of others. */
const FOREIGN = { maxSize: SIZE, ...LONG };

const PULL = {
  registries: REGISTRIES,
  platform: STRING,
  parallel: COUNT,
  unpack: BOOLEAN,
  maxSize: SIZE,
  policy: POLICY,
  onProgress: FUNCTION,
  signal: SIGNAL,
};

const PUSH = {
  registries: REGISTRIES,
  parallel: COUNT,
  chunk: SIZE,
  mountFrom: STRINGS,
  onProgress: FUNCTION,
  signal: SIGNAL,
};

const oneOf = (...words) => ({
  wanted: words.map((word) => `"${word}"`).join(' or '),
  is: (value) => words.includes(value),
});

/** An image of a store, as it was when it was found. */
class Image {
  #native;
  #everything;
  /** What it was found in. */
  #store;

  constructor(native, store) {
    this.#native = native;
    this.#store = store;
    this.#everything = JSON.parse(native.inspect());
    const { id, digest, references, size, config } = this.#everything;
    Object.assign(this, { id, digest, references, size, config });
    Object.freeze(this);
  }

  inspect() {
    return structuredClone(this.#everything);
  }

  history() {
    return this.#native.history();
  }

  async layers(options = {}) {
    const { signal } = checkOptions(options, LONG);
    return this.#store.operate('unpack', { signal }, (_, cancel) => this.#native.layers(cancel));
  }

  async export(path, options = {}) {
    check('argument "path"', path, STRING);
    const { signal } = checkOptions(options, LONG);
    await this.#store.operate('export', { signal }, (_, cancel) =>
      this.#native.export(cancel, path),
    );
  }

  async diff(base, options = {}) {
    check('argument "base"', base, IMAGE);
    const { signal } = checkOptions(options, LONG);
    return this.#store.operate('compare', { signal }, (_, cancel) =>
      this.#native.diff(cancel, base.#native),
    );
  }

  async squash(options = {}) {
    const { signal, commit } = commitOptions(options);
    const made = await this.#store.operate('squash', { signal }, (_, cancel) =>
      this.#native.squash(cancel, commit),
    );
    return new Image(made, this.#store);
  }

  toString() {
    return this.references[0] ?? this.id;
  }

  /** The root that native code starts from. */
  static root(image) {
    return image.#native.root();
  }

  /** What native code pushes. */
  static native(image) {
    return image instanceof Image ? image.#native : image;
  }
}

const IMAGE = { wanted: 'an Image', is: (value) => value instanceof Image };
const isName = (value) => isString(value) || value instanceof Image;
const NAME = {
  wanted: 'a name, an id or an Image',
  is: isName,
  convert: (value) => (isString(value) ? value : value.id),
};
const PUSHED = { wanted: NAME.wanted, is: isName, convert: Image.native };
const NAMES = {
  wanted: 'a name, an id, an Image, or an array of those',
  is: (value) => isName(value) || isArrayOf(value, isName),
  convert: (value) => [value].flat().map(NAME.convert),
};

/** The store of an engine, for as long as that is open. */
class Store {
  #images;
  #running;

  /** `images` gives native code's; it fails when the engine is closed. */
  constructor(images, running) {
    this.#images = images;
    this.#running = running;
  }

  images(operation) {
    return this.#images(operation);
  }

  /** Does what may take long; see `operateAndReport`. `begin` gets native code's images first. */
  async operate(operation, { maxSize, signal, report }, begin) {
    const all = this.#images(operation);
    const running = this.#running;
    return operateAndReport({ signal, running, report }, (...more) =>
      begin(maxSize === undefined ? all : all.bounded(maxSize), ...more),
    );
  }
}

/** The images of an engine's store. */
class Images {
  #store;

  constructor(store) {
    this.#store = store;
  }

  async load(path, options = {}) {
    check('argument "path"', path, STRING);
    const checked = checkOptions(options, FOREIGN);
    const loaded = await this.#store.operate('load', checked, (images, cancel) =>
      images.load(cancel, path),
    );
    return this.#image(loaded);
  }

  async loadAll(path, options = {}) {
    check('argument "path"', path, STRING);
    const checked = checkOptions(options, FOREIGN);
    const loaded = await this.#store.operate('load', checked, (images, cancel) =>
      images.loadAll(cancel, path),
    );
    return loaded.map((image) => this.#image(image));
  }

  async import(tar, reference, options = {}) {
    check('argument "tar"', tar, STRING);
    if (reference !== undefined) check('argument "reference"', reference, STRING);
    const checked = checkOptions(options, FOREIGN);
    const imported = await this.#store.operate('import', checked, (images, cancel) =>
      images.import(cancel, tar, reference),
    );
    return this.#image(imported);
  }

  async pull(reference, options = {}) {
    check('argument "reference"', reference, STRING);
    const { registries, onProgress: report, maxSize, signal, ...pull } = checkOptions(options, PULL);
    const reach = Registries.native(registries);
    const spec = { __proto__: null, ...pull };
    const how = { maxSize, signal, report };
    const pulled = await this.#store.operate('pull', how, (images, cancel, ...told) =>
      images.pull(cancel, reference, reach, spec, ...told),
    );
    return this.#image(pulled);
  }

  async push(image, reference, options = {}) {
    const pushed = check('argument "image"', image, PUSHED);
    check('argument "reference"', reference, STRING);
    const { registries, onProgress: report, signal, ...push } = checkOptions(options, PUSH);
    const reach = Registries.native(registries);
    const spec = { __proto__: null, ...push };
    return this.#store.operate('push', { signal, report }, (images, cancel, ...told) =>
      images.push(cancel, pushed, reference, reach, spec, ...told),
    );
  }

  async save(images, path, options = {}) {
    const names = check('argument "images"', images, NAMES);
    check('argument "path"', path, STRING);
    const { format, signal } = checkOptions(options, { format: oneOf('docker', 'oci'), ...LONG });
    await this.#store.operate('save', { signal }, (images, cancel) =>
      images.save(cancel, names, path, format === 'oci'),
    );
  }

  async prune(what = 'files', options = {}) {
    check('argument "what"', what, oneOf('files', 'nameless', 'unused'));
    const { signal } = checkOptions(options, LONG);
    return this.#store.operate('prune', { signal }, (images, cancel) => images.prune(cancel, what));
  }

  async diskUsage(options = {}) {
    const { signal } = checkOptions(options, LONG);
    return this.#store.operate('measure', { signal }, (images, cancel) => images.diskUsage(cancel));
  }

  async find(name) {
    check('argument "name"', name, STRING);
    return this.#image(await settled(() => this.#store.images('find').find(name)));
  }

  async list() {
    return settled(() => this.#store.images('list').list());
  }

  async tag(name, reference, options = {}) {
    check('argument "name"', name, STRING);
    check('argument "reference"', reference, STRING);
    const { signal } = checkOptions(options, LONG);
    await this.#store.operate('tag', { signal }, (images, cancel) =>
      images.tag(cancel, name, reference),
    );
  }

  async remove(name, options = {}) {
    check('argument "name"', name, STRING);
    const { signal } = checkOptions(options, LONG);
    await this.#store.operate('remove', { signal }, (images, cancel) =>
      images.remove(cancel, name),
    );
  }

  #image(found) {
    return new Image(found, this.#store);
  }
}

module.exports = { Image, Images, Store };
