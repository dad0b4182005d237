#!/bin/sh
# Plays the scenarios of clients/conformance: conformance.sh --address HOST:PORT --cases DIR [--only NAME].
# Builds the runner when something has changed since it was built.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
built=$here/target/classpath.txt
if [ ! -s "$built" ] || [ -n "$(find "$here/src" "$here/pom.xml" "$here/../../proto/motet" -newer "$built" -type f)" ]; then
    mvn --batch-mode --quiet --file "$here/pom.xml" process-test-classes >&2
    touch "$built"
fi
exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8 \
    -cp "$here/target/classes:$here/target/test-classes:$(cat "$built")" dev.motet.conformance.Runner "$@"
