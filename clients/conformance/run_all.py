"""Plays the scenarios in every language that the machine has the toolchain of. Usage: run_all.py --help"""

import sys

from conform import main

if __name__ == "__main__":
    sys.exit(main())
