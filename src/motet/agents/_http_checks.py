"""Checks of what an http agent is made with. Pure; each raises ValueError, which names the parameter."""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

_OK_STATUS: Final = re.compile(r"[1-5]xx|[1-5]\d\d")
_OWN_HEADERS: Final = frozenset({"content-length", "transfer-encoding", "connection"})
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def check_method(method: str) -> str:
    if not _TOKEN.fullmatch(method) or method.upper() == "CONNECT":
        raise ValueError(f"method: {method!r} is no method that can be sent to a URL; give one such as 'POST'")
    return method


def check_url(url: str) -> str:
    """The URL's place as messages name it: without user, password and query, which may be secret."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError as error:
        raise ValueError(f"url: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("url: must be absolute and begin with http:// or https://")
    if not url.isprintable() or " " in url or "#" in url:
        raise ValueError("url: must have no spaces, control characters or fragment; percent-encode them")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}{parts.path}"


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"headers: {name!r} is no header name")
        if name.lower() in _OWN_HEADERS or name.lower().startswith("motet-"):
            raise ValueError(f"headers: {name!r} is set by the agent itself")
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            raise ValueError(
                f"headers: the value of {name!r} must be printable ASCII on one line, without outer spaces"
            )
    return {name.lower(): value for name, value in headers.items()}


def check_statuses(statuses: str | int | Sequence[str | int]) -> frozenset[str]:
    given = [statuses] if isinstance(statuses, str | int) else statuses
    wanted = frozenset(str(status).lower() for status in given)
    if not wanted or not all(_OK_STATUS.fullmatch(status) for status in wanted):
        raise ValueError("ok_statuses: give a status such as 200, a class such as '2xx', or a list of them")
    return wanted
