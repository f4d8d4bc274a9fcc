'use strict';
// Connections: taken from the inherited socket, and brought to an orderly end at SIGTERM.

const http = require('node:http');
const net = require('node:net');

const FIRST_INHERITED = 3; // sd_listen_fds(3)
const IDLE_GRACE = 5_000; // ms after SIGTERM in which an idle connection may still send a request

/** Answers requests for a service; `draining` makes every answer the last one of its connection. */
function makeServer(service, state = { draining: false }) {
  const server = http.createServer((request, response) => {
    const { status, text, type } = service.answer(request.method, request.url);
    if (state.draining) response.setHeader('Connection', 'close');
    response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) });
    response.end(request.method === 'HEAD' ? undefined : text);
  });
  server.keepAliveTimeout = 75_000;
  return server;
}

/** Serve on the socket that HotSwap hands over (LISTEN_FDS, systemd's protocol); by hand on 127.0.0.1 and PORT. */
function serve(service, environment) {
  const state = { draining: false };
  const server = makeServer(service, state);
  const told = () => console.log(`${service.name} ${service.version} serves, process ${process.pid}`);
  if (environment.LISTEN_FDS) server.listen({ fd: FIRST_INHERITED }, told);
  else server.listen(Number(environment.PORT || 8080), '127.0.0.1', told);

  const stop = () => {
    if (state.draining) return;
    state.draining = true;
    // http.Server's close() cuts idle connections at once (since Node 19), just when a client may send its next request.
    net.Server.prototype.close.call(server, () => {
      console.log('ended');
      process.exit(0);
    });
    setTimeout(() => server.closeIdleConnections(), IDLE_GRACE).unref();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

module.exports = { makeServer, serve };
