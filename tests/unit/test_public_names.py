"""What `motet` offers is what `__all__` says, and importing it stays cheap."""

import subprocess
import sys

import motet


def test_every_public_name_exists_and_the_list_is_sorted() -> None:
    assert motet.__all__ == sorted(motet.__all__)
    assert all(getattr(motet, name) is not None for name in motet.__all__)


def test_importing_motet_loads_no_server_library_and_none_that_is_not_needed_yet() -> None:
    code = (
        "import sys, motet; "
        "print(*[m for m in ('grpc', 'google.protobuf', 'asyncio', 'pydantic', 'httpx2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
