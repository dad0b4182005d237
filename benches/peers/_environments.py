"""An environment for each system, from hashed locks, made once. Knows pip and venv, and nothing of what is installed."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from peers._systems import System

LOCKS: Final = Path(__file__).resolve().parent / "requirements"
PATIENCE: Final = 1200.0
"""Seconds for the installation of one system; the largest downloads half a gigabyte."""
_ADDRESS: Final = re.compile(r"\w+://\S+")
_PATH: Final = re.compile(r"(?<![\w.])/[^\s'\",:;)]+/")


class NotInstalled(Exception):
    """A system's environment could not be made. The message is pip's own."""


def environment(system: System, folder: Path) -> Path:
    """The Python that runs this system: made and installed where it is missing or of another lock. Raises NotInstalled."""
    if system.lock is None:
        return Path(sys.executable)
    lock = LOCKS / system.lock
    home = folder / lock.stem
    python, stamp = home / "bin" / "python", home / ".installed"
    wanted = f"{hashlib.sha256(lock.read_bytes()).hexdigest()} {sys.version}"
    if not (python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
        print(f"installing {system.name} (once)", flush=True)
        _do([sys.executable, "-m", "venv", "--clear", str(home)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _do([*pip, "--no-deps", "--require-hashes", "-r", str(lock)])
        stamp.write_text(wanted, encoding="utf-8")
    return python


def plain(text: str, lines: int = 4) -> str:
    """The end of an error, without what belongs to one machine: addresses and folders."""
    ending = [line.strip() for line in text.splitlines() if line.strip()][-lines:]
    return _PATH.sub("", _ADDRESS.sub("(address)", " / ".join(ending))) or "no message"


def _do(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)  # noqa: S603 - made here
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(plain(str(error))) from error
    if done.returncode:
        raise NotInstalled(plain(done.stderr))
