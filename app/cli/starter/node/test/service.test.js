'use strict';
// What the service answers, also through real HTTP over a stream in memory (a sandbox may forbid to listen).

const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Duplex } = require('node:stream');
const test = require('node:test');

const root = path.dirname(__dirname);
const built = path.join(root, 'dist');
const source = path.join(fs.existsSync(built) ? built : root, 'src');
const { makeServer } = require(path.join(source, 'server'));
const { Service } = require(path.join(source, 'service'));

const service = () => new Service('my-module', '1.2.3');

test('the page names module and version', () => {
  const answer = service().answer('GET', '/');
  assert.strictEqual(answer.status, 200);
  assert.strictEqual(answer.text, 'my-module 1.2.3\n');
});

test('what is not there is 404, and other methods are 405', () => {
  assert.strictEqual(service().answer('GET', '/nothing').status, 404);
  assert.strictEqual(service().answer('POST', '/').status, 405);
});

test("users' requests are counted, and health checks are not", () => {
  const counted = service();
  for (const url of ['/', '/', '/nothing', '/healthz', '/metrics']) counted.answer('GET', url);
  const lines = counted.answer('GET', '/metrics').text.split('\n');
  assert.ok(lines.includes('http_requests_total{code="200"} 2'));
  assert.ok(lines.includes('http_requests_total{code="404"} 1'));
  assert.ok(lines.includes('http_request_duration_seconds_count 3'));
});

test('it is not well without its data folder', () => {
  assert.strictEqual(new Service('my-module', '1.2.3', os.tmpdir()).answer('GET', '/healthz').status, 200);
  const gone = path.join(os.tmpdir(), 'there-is-no-such-folder');
  assert.strictEqual(new Service('my-module', '1.2.3', gone).answer('GET', '/healthz').status, 503);
});

/** Sends a request over a connection that is only in memory; the answer, when the server has ended it. */
function ask(state, request) {
  return new Promise((resolve) => {
    let said = '';
    const connection = new Duplex({
      read() {},
      write(chunk, _encoding, done) {
        said += chunk;
        done();
      },
      final(done) {
        done();
        resolve(said);
      },
    });
    makeServer(service(), state).emit('connection', connection);
    connection.push(request);
  });
}

test('while it drains, every answer is the last of its connection', async () => {
  const said = await ask({ draining: true }, 'GET / HTTP/1.1\r\nHost: here\r\n\r\n');
  assert.match(said, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(said, /\r\nConnection: close\r\n/);
  assert.match(said, /\r\n\r\nmy-module 1\.2\.3\n$/);
});
