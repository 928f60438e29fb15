'use strict';

const { SIGNAL, SIZE, STRING, checkOptions, isObject } = require('./check');

const TIME = {
  wanted: 'a Date, or a number of milliseconds since 1970',
  is: (value) => Number.isFinite(value instanceof Date ? value.getTime() : value),
  convert: Number,
};

const CONFIG = {
  wanted: 'an object such as inspect().config.config of an image',
  is: isObject,
  convert: JSON.stringify,
};

const COMMIT = {
  reference: STRING,
  config: CONFIG,
  author: STRING,
  comment: STRING,
  createdBy: STRING,
  time: TIME,
  maxSize: SIZE,
  signal: SIGNAL,
};

/** How an image is made of another: `commit` is what native code takes. */
function commitOptions(given) {
  const { signal, ...commit } = checkOptions(given, COMMIT);
  return { signal, commit: { __proto__: null, ...commit } };
}

module.exports = { commitOptions };
