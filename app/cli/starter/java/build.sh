#!/bin/sh
# Makes `dist`, which replaces the source. The tests go along: they are run on what was built.
set -eu
rm -rf dist
mkdir dist
javac -J-Xmx256m -Xlint:all -Werror -encoding UTF-8 -d dist/classes src/*.java test/*.java
echo "dist/classes: $(find dist/classes -name '*.class' | wc -l | tr -d ' ') classes"
