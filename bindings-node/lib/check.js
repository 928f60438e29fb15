'use strict';

const { wrongInput } = require('./error');

/** Types of arguments: what they are called, which values are of them, what native code gets. */
const isString = (value) => typeof value === 'string';
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const isNumber = (value) => typeof value === 'number';
/** Also a hole is an element: `every` alone would pass over it. */
const isArrayOf = (value, is) => Array.isArray(value) && [...value].every(is);
/** Native code has 32 bits for it. */
const isInt32 = (value) => isNumber(value) && (value | 0) === value;

const STRING = { wanted: 'a string', is: isString };
const STRINGS = {
  wanted: 'an array of strings',
  is: (value) => isArrayOf(value, isString),
};
const BOOLEAN = { wanted: 'true or false', is: (value) => typeof value === 'boolean' };
const NUMBER = { wanted: 'a number', is: isNumber };
/** For a timer of JavaScript's. */
const MILLISECONDS = {
  wanted: 'a number of milliseconds from 0 to 2^31 - 1',
  is: (value) => isNumber(value) && value >= 0 && value < 2 ** 31,
};
const SIZE = {
  wanted: 'a number of bytes or a string such as "256m"',
  is: (value) => isString(value) || isNumber(value),
  convert: String,
};

/** Native code has 32 bits for it. */
const COUNT = {
  wanted: 'a whole number from 1 to 2^32 - 1',
  is: (value) => isNumber(value) && value >= 1 && value >>> 0 === value,
};
/** PEM, for instance. What JavaScript does to it later is not seen. */
const BYTES = {
  wanted: 'a string or a Uint8Array',
  is: (value) => isString(value) || value instanceof Uint8Array,
  convert: (value) => Buffer.from(value),
};
const FUNCTION = { wanted: 'a function', is: (value) => typeof value === 'function' };
const SIGNAL = { wanted: 'an AbortSignal', is: (value) => value instanceof AbortSignal };

/** `value` as native code takes it; an error that names `what` if it is not of `type`. */
function check(what, value, type) {
  if (!type.is(value)) {
    const is = type.secret ? 'it is something else' : `it is ${describe(value)}`;
    throw wrongInput('use', what, is, `give ${type.wanted}`);
  }
  return type.convert ? type.convert(value, what) : value;
}

/** The options of `given` as native code takes them; `types` are those that there are. */
function checkOptions(given, types) {
  return checkFields('argument "options"', given, types);
}

/** Likewise for an object in an option: `whole` is what it is called, `field` what it is made of. */
function checkFields(whole, given, types, field = 'option') {
  check(whole, given, { wanted: 'an object', is: isObject });
  // What somebody has put into Object.prototype is not given.
  const options = { __proto__: null };
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(types, name)) {
      const names = Object.keys(types).join(', ');
      throw wrongInput('use', `${field} "${name}"`, 'there is none of that name', `give ${names}`);
    }
    if (value !== undefined) options[name] = check(`${field} "${name}"`, value, types[name]);
  }
  return options;
}

function describe(value) {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'an array with something else in it';
  if (isString(value)) {
    return value.length > 60 ? `a string of ${value.length} characters` : JSON.stringify(value);
  }
  if (isObject(value)) return `an object (${value.constructor?.name ?? 'without a class'})`;
  return isNumber(value) ? String(value) : `a ${typeof value}`;
}

module.exports = {
  STRING, STRINGS, BOOLEAN, NUMBER, MILLISECONDS, SIZE, COUNT, BYTES, FUNCTION, SIGNAL,
  isString, isObject, isNumber, isArrayOf, isInt32, check, checkFields, checkOptions,
};
