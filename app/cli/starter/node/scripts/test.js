'use strict';
// Runs the tests with Node's own runner, and lets it write reports/junit.xml where it can (Node 20 or newer).

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.dirname(__dirname);
const REPORT = path.join(ROOT, 'reports', 'junit.xml');

function reporters() {
  let known = {};
  try {
    known = require('node:test/reporters');
  } catch {
    // Node 18 before 18.15 has none; its output goes to stdout all the same.
  }
  if (!known.junit) return [];
  fs.mkdirSync(path.dirname(REPORT), { recursive: true });
  return [
    '--test-reporter=spec', '--test-reporter-destination=stdout',
    '--test-reporter=junit', `--test-reporter-destination=${REPORT}`,
  ];
}

const files = fs.readdirSync(path.join(ROOT, 'test')).filter((name) => name.endsWith('.test.js')).sort();
if (!files.length) throw new Error('there are no tests');
const named = files.map((name) => path.join('test', name));
const done = spawnSync(process.execPath, ['--test', ...reporters(), ...named], { cwd: ROOT, stdio: 'inherit' });
process.exit(done.status ?? 1);
