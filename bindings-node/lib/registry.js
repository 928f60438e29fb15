'use strict';

const native = require('./native');
const {
  BOOLEAN, BYTES, COUNT, MILLISECONDS, SIGNAL, STRING, STRINGS,
  check, checkFields, checkOptions, isObject, isString,
} = require('./check');
const { explain } = require('./error');
const { operate } = require('./operation');

const CREDENTIALS = {
  wanted: '{ user, password }, { identityToken } or { registryToken }',
  secret: true,
  is: (value) =>
  isObject(value) &&
  ['password,user', 'identityToken', 'registryToken'].includes(Object.keys(value).sort().join()) &&
  Object.values(value).every(isString),
};

const CERTIFICATE = {
  wanted: '{ cert, key }, both PEM',
  secret: true,
  is: (value) => isObject(value) && BYTES.is(value.cert) && BYTES.is(value.key),
  convert: ({ cert, key }) => ({ cert: BYTES.convert(cert), key: BYTES.convert(key) }),
};

const ACCESS = {
  plainHttp: BOOLEAN,
  mirrors: STRINGS,
  credentials: CREDENTIALS,
  ca: BYTES,
  clientCertificate: CERTIFICATE,
};

const SETTINGS = {
  credentialFiles: STRINGS,
  timeoutMs: MILLISECONDS,
  attempts: COUNT,
  pauseMs: MILLISECONDS,
};

/** How each registry of `given` is reached, as native code takes it. */
function accesses(given) {
  return Object.entries(given).map(([registry, access]) => {
    const { credentials, clientCertificate, ...rest } = checkFields(
      `registry "${registry}"`, access, ACCESS,
    );
    return { __proto__: null, registry, ...rest, ...credentials, ...clientCertificate };
  });
}

/** The registries as this program reaches them. */
class Registries {
  #native;
  /** The questions under way. */
  #running = new Set();

  constructor(access = {}, options = {}) {
    check('argument "access"', access, { wanted: 'an object by registry', is: isObject });
    const settings = checkOptions(options, SETTINGS);
    settings.access = accesses(access);
    try {
      this.#native = new native.Registries(settings);
    } catch (failure) {
      throw explain(failure);
    }
  }

  async ping(registry, options = {}) {
    check('argument "registry"', registry, STRING);
    await this.#ask(checkOptions(options, { signal: SIGNAL }), 'ping', registry);
  }

  async resolve(reference, options = {}) {
    check('argument "reference"', reference, STRING);
    return this.#ask(checkOptions(options, { signal: SIGNAL }), 'resolve', reference);
  }

  async tags(repository, options = {}) {
    check('argument "repository"', repository, STRING);
    return this.#ask(checkOptions(options, { signal: SIGNAL }), 'tags', repository);
  }

  async referrers(reference, options = {}) {
    check('argument "reference"', reference, STRING);
    const checked = checkOptions(options, { artifactType: STRING, signal: SIGNAL });
    return this.#ask(checked, 'referrers', reference, checked.artifactType);
  }

  #ask({ signal }, question, ...about) {
    const running = this.#running;
    return operate({ signal, running }, (cancel) => this.#native[question](cancel, ...about));
  }

  /** What native code reaches registries by: `given` may be what one is made of, or nothing. */
  static native(given = {}) {
    return (given instanceof Registries ? given : new Registries(given)).#native;
  }
}

const REGISTRIES = {
  wanted: 'Registries, or an object by registry',
  is: isObject,
};

module.exports = { Registries, REGISTRIES };
