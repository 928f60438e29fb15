'use strict';

const { Child } = require('./child');
const { Engine } = require('./engine');
const { classes } = require('./error');
const { ExitStatus } = require('./exit');
const { Image, Images } = require('./image');
const { Mount } = require('./mount');
const { Registries } = require('./registry');
const { Root } = require('./root');

module.exports = { Engine, Images, Image, Child, ExitStatus, Mount, Registries, Root, ...classes };
