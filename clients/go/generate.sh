#!/bin/sh
# Writes motet/v1 from the protos of the repository; with --check only says whether it is up to date. Needs Go, nothing else.
set -eu
cd "$(dirname "$0")/internal/gen"
GOWORK=off exec go run . "$@"
