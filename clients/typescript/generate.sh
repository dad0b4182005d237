#!/bin/sh
# Writes src/gen from the protos of the repository; with --check only says whether it is up to date.
set -eu
cd "$(dirname "$0")"
[ -d node_modules ] || npm ci --silent
exec node generate.js "$@"
