#!/bin/sh
# Makes `dist`, which replaces the source, and beside it the tests, which are run on it and do not get deployed.
set -eu
rm -rf dist build
javac -J-Xmx256m -Xlint:all -Werror -encoding UTF-8 -d dist/classes src/*.java
javac -J-Xmx256m -Xlint:all -Werror -encoding UTF-8 -cp dist/classes -d build/tests test/*.java
echo "dist/classes: $(find dist/classes -name '*.class' | wc -l | tr -d ' ') classes"
