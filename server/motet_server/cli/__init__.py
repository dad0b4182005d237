"""The `motet` program. This file knows the standard library only, so that it can say which libraries are missing."""

import os
import sys


def main() -> None:
    """Entry point of the console script; ends the process with one of the codes in `exits`."""
    # gRPC writes to standard error what the program says in a sentence. Set before it is loaded, and whoever wants to see
    # what gRPC does still sets it to something else.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from motet_server.cli.app import execute  # noqa: PLC0415  # may be missing, see below
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"motet", "motet_server"}:
            raise
        sys.stderr.write(f"motet: {error.name} is missing; install the program with: pip install 'motet[server]'\n")
        sys.exit(2)
    sys.exit(execute(sys.argv[1:]))
