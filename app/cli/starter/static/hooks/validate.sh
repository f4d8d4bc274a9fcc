#!/bin/sh
# validateService: after the switch, in the root of the release. An exit code other than 0 brings the release before back.
set -eu
test -s public/index.html
echo "public/index.html is there"
