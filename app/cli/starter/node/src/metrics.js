'use strict';
// What /metrics says, in Prometheus' text format. These names are the ones that HotSwap judges a rollout by.

const BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]; // seconds
const STARTED = Date.now() / 1000 - process.uptime();

class Metrics {
  #answers = new Map();
  #within = BUCKETS.map(() => 0);
  #count = 0;
  #seconds = 0;

  /** Count one answer and the seconds that it took. */
  observe(status, seconds) {
    this.#answers.set(status, (this.#answers.get(status) || 0) + 1);
    this.#count += 1;
    this.#seconds += seconds;
    BUCKETS.forEach((bound, index) => {
      if (seconds <= bound) this.#within[index] += 1;
    });
  }

  /** The whole page. */
  text() {
    const { user, system } = process.cpuUsage();
    const name = 'http_request_duration_seconds';
    const lines = [
      '# TYPE http_requests_total counter',
      ...[...this.#answers].sort().map(([code, count]) => `http_requests_total{code="${code}"} ${count}`),
      `# TYPE ${name} histogram`,
      ...BUCKETS.map((bound, index) => `${name}_bucket{le="${bound}"} ${this.#within[index]}`),
      `${name}_bucket{le="+Inf"} ${this.#count}`,
      `${name}_count ${this.#count}`,
      `${name}_sum ${this.#seconds.toFixed(6)}`,
      '# TYPE process_cpu_seconds_total counter',
      `process_cpu_seconds_total ${((user + system) / 1e6).toFixed(3)}`,
      '# TYPE process_resident_memory_bytes gauge',
      `process_resident_memory_bytes ${process.memoryUsage.rss()}`,
      '# TYPE process_start_time_seconds gauge',
      `process_start_time_seconds ${STARTED.toFixed(3)}`,
    ];
    return lines.join('\n') + '\n';
  }
}

module.exports = { Metrics };
