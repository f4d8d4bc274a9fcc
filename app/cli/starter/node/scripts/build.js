'use strict';
// Makes `dist`, which replaces the source: every file is parsed once, so that no release has an error of syntax.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.dirname(__dirname);
const OUTPUT = path.join(ROOT, 'dist');
const CONTENT = ['package.json', 'src'];

function put(name) {
  const source = path.join(ROOT, name);
  if (fs.statSync(source).isDirectory()) {
    fs.readdirSync(source).sort().forEach((each) => put(path.join(name, each)));
    return;
  }
  if (name.endsWith('.js')) execFileSync(process.execPath, ['--check', source], { stdio: 'inherit' });
  fs.mkdirSync(path.dirname(path.join(OUTPUT, name)), { recursive: true });
  fs.copyFileSync(source, path.join(OUTPUT, name));
  console.log(path.join('dist', name));
}

fs.rmSync(OUTPUT, { recursive: true, force: true });
CONTENT.forEach(put);
