'use strict';
// Serve until SIGTERM.

const { serve } = require('./server');
const { Service } = require('./service');

const { HOTSWAP_MODULE, HOTSWAP_VERSION, HOTSWAP_DATA_DIR } = process.env;
serve(new Service(HOTSWAP_MODULE || 'my-module', HOTSWAP_VERSION || 'development', HOTSWAP_DATA_DIR), process.env);
