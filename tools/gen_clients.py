"""Writes the generated code of the clients in other languages, or checks that it is up to date, by each client's own
`generate.sh`. A language whose toolchain is not on the machine is named and passed over.

Usage: gen_clients.py [--check]
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

CLIENTS = Path(__file__).resolve().parent.parent / "clients"
NEEDS = {"go": ("go",), "typescript": ("node", "npm"), "java": ("java", "mvn")}
"""What each language's generator needs. Java's build generates by itself, and keeps nothing."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    failed = False
    for language, programs in NEEDS.items():
        script = CLIENTS / language / "generate.sh"
        if not script.exists():
            continue
        absent = [program for program in programs if shutil.which(program) is None]
        if absent:
            print(f"{language}: not looked at, this machine has no {', '.join(absent)}")
            continue
        done = subprocess.run([str(script), *(["--check"] if given.check else [])], check=False)
        failed = failed or done.returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
