'use strict';

const { BOOLEAN, SIZE, STRING, check, checkOptions } = require('./check');

/** A mount into a container. */
class Mount {
  constructor(fields) {
    Object.assign(this, fields);
    Object.freeze(this);
  }

  static bind(source, destination, options = {}) {
    const { readOnly = false } = checkOptions(options, { readOnly: BOOLEAN });
    return new Mount({
      type: 'bind',
      source: check('argument "source"', source, STRING),
      destination: check('argument "destination"', destination, STRING),
      readOnly,
    });
  }

  static tmpfs(destination, options = {}) {
    const { readOnly = false, size } = checkOptions(options, { readOnly: BOOLEAN, size: SIZE });
    return new Mount({
      type: 'tmpfs',
      destination: check('argument "destination"', destination, STRING),
      readOnly,
      size,
    });
  }
}

module.exports = { Mount };
