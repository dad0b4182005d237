"""The switch that keeps real providers off the network, for tests and dry runs. Knows addresses, no provider.

`MOTET_NO_NETWORK=1` in the environment, or `with forbid_network():`, and every real provider refuses with
NETWORK_FORBIDDEN before it opens anything; one whose base_url names a loopback address still answers.
"""

import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final
from urllib.parse import urlsplit

from motet.agents.model.reasons import NETWORK_FORBIDDEN
from motet.errors import AgentError

VARIABLE: Final = "MOTET_NO_NETWORK"
_OFF: Final = frozenset({"", "0", "false", "no", "off"})


class _Switch:
    """Of the whole process: members run in tasks of an engine, which may have been opened outside the `with`."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.inside = 0


_switch: Final = _Switch()


@contextmanager
def forbid_network() -> Iterator[None]:
    """Real providers of the whole process refuse every request until it ends. It nests."""
    with _switch.lock:
        _switch.inside += 1
    try:
        yield
    finally:
        with _switch.lock:
            _switch.inside -= 1


def network_forbidden() -> bool:
    """Whether real requests are switched off now."""
    return _switch.inside > 0 or os.environ.get(VARIABLE, "").strip().lower() not in _OFF


def check_network(provider: str, base_url: str) -> None:
    """Raise AgentError NETWORK_FORBIDDEN when requests to this address are switched off."""
    if not network_forbidden() or is_loopback(base_url):
        return
    raise AgentError(
        f"provider '{provider}' may not send requests: real requests are switched off (forbid_network or {VARIABLE}); "
        "use a ScriptedProvider, or a base_url on this machine",
        reason=NETWORK_FORBIDDEN,
        details={"provider": provider},
    )


def is_loopback(base_url: str) -> bool:
    """Whether the URL's host is this machine, by its name alone: nothing is looked up."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def is_own(base_url: str) -> bool:
    """Whether the host is this machine or one beside it, whose price no public list can know."""
    host = urlsplit(base_url).hostname or ""
    address = _address(host)
    if address is not None:
        return address.is_private
    return "." not in host or is_loopback(base_url)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
