'use strict';

const native = require('./native');
const { STRING, check } = require('./check');
const { Image } = require('./image');

const TARGET = {
  wanted: 'a name, an id, an Image or a Root',
  is: (value) => typeof value === 'string' || value instanceof Image || value instanceof Root,
};

/** A root file system that is no image. */
class Root {
  #native;
  #text;

  constructor(native, text) {
    this.#native = native;
    this.#text = text;
  }

  static host() {
    return new Root(native.Root.host(), 'the host');
  }

  static directory(path) {
    check('argument "path"', path, STRING);
    return new Root(native.Root.directory(path), path);
  }

  toString() {
    return this.#text;
  }

  /** What native code starts a container of `image` from. */
  static target(image) {
    check('argument "image"', image, TARGET);
    if (image instanceof Image) return Image.root(image);
    return image instanceof Root ? image.#native : image;
  }
}

module.exports = { Root };
