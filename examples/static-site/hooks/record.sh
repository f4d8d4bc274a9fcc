#!/bin/sh
# afterInstall, applicationStart, applicationStop: keep a record of what ran when, for whoever looks after the site. Real sites
# reload their web server here. A line that is there already is not written again, since a hook may run twice.
set -eu
line="$1 $HOTSWAP_VERSION"
record="$HOTSWAP_DATA_DIR/releases.txt"
if [ "$(tail -n 1 "$record" 2>/dev/null || true)" != "$line" ]; then
    echo "$line" >> "$record"
fi
echo "$line"
