'use strict';
// What this service answers. No socket is touched here, so all of it can be tested without one.

const fs = require('node:fs');
const { Metrics } = require('./metrics');

const TEXT = 'text/plain; charset=utf-8';
const PROMETHEUS = 'text/plain; version=0.0.4; charset=utf-8';

class Service {
  /** `data` is the folder that outlives releases (HOTSWAP_DATA_DIR), undefined where nobody gave one. */
  constructor(name, version, data) {
    this.name = name;
    this.version = version;
    this.data = data;
    this.metrics = new Metrics();
  }

  /** {status, text, type} for a request. Health checks and metrics are not counted: they are no user's. */
  answer(method, url) {
    const path = url.split('?', 1)[0];
    if (path === '/healthz') return this.#health();
    if (path === '/metrics') return { status: 200, text: this.metrics.text(), type: PROMETHEUS };
    const began = process.hrtime.bigint();
    const answer = this.#answer(method, path);
    this.metrics.observe(answer.status, Number(process.hrtime.bigint() - began) / 1e9);
    return answer;
  }

  /** Begin here. */
  #answer(method, path) {
    if (method !== 'GET' && method !== 'HEAD') return { status: 405, text: 'only GET and HEAD\n', type: TEXT };
    if (path === '/') return { status: 200, text: `${this.name} ${this.version}\n`, type: TEXT };
    return { status: 404, text: 'there is nothing here\n', type: TEXT };
  }

  /** Ask here what the service cannot do without: a check that only says 200 lets a broken release in. */
  #health() {
    try {
      if (this.data) fs.accessSync(this.data, fs.constants.W_OK);
    } catch {
      return { status: 503, text: `cannot write to ${this.data}\n`, type: TEXT };
    }
    return { status: 200, text: 'ok\n', type: TEXT };
  }
}

module.exports = { Service };
