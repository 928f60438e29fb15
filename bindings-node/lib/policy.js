'use strict';

const { BYTES, COUNT, checkFields, isArrayOf, isObject, isString } = require('./check');

const IDENTITIES = ['signedTag', 'exact', 'repository'];

const SIGNED = {
  keys: {
    wanted: 'an array of public keys, each PEM',
    is: (value) => isArrayOf(value, BYTES.is),
    convert: (keys) => keys.map(BYTES.convert),
  },
  atLeast: COUNT,
  identity: {
    wanted: '"signedTag", "exact", "repository" or { named: "registry.example/repository" }',
    is: (value) => IDENTITIES.includes(value) || (isObject(value) && isString(value.named)),
  },
};

const REQUIREMENT = {
  wanted: '"accept", "reject" or { keys, atLeast, identity }',
  is: (value) => value === 'accept' || value === 'reject' || isObject(value),
  convert: (value, what) => {
    if (isString(value)) return { accept: value === 'accept' };
    const { keys = [], atLeast, identity } = checkFields(what, value, SIGNED);
    return isObject(identity)
      ? { keys, atLeast, named: identity.named }
      : { keys, atLeast, identity };
  },
};

const PREFIXES = {
  wanted: 'an object by the beginning of names',
  is: isObject,
  convert: (value) => {
    const types = Object.fromEntries(Object.keys(value).map((prefix) => [prefix, REQUIREMENT]));
    const requirements = checkFields('option "policy"', value, types, 'prefix');
    return Object.entries(requirements).map(([prefix, requirement]) => ({ prefix, requirement }));
  },
};

/** Who must have signed what is pulled. Without a default, it would say nothing of most names. */
const POLICY = {
  wanted: '{ default, prefixes }',
  is: (value) => isObject(value) && value.default !== undefined,
  convert: (value) => {
    const types = { default: REQUIREMENT, prefixes: PREFIXES };
    return { prefixes: [], ...checkFields('option "policy"', value, types) };
  },
};

module.exports = { POLICY };
