"""Where a provider's key comes from, and how it is kept out of what is said. Knows no SDK; reads files, so call it in a thread."""

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from motet.agents.model.reasons import PROVIDER_DENIED
from motet.errors import AgentError

PLACEHOLDER: Final = "motet-no-key"
"""What a server that wants no key is sent: SDKs refuse to send none."""
_MOST_BYTES: Final = 16 * 1024
_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP
"""A group may read a key, as services that share one do; nobody else, and nobody else may change it."""
_KEY_LIKE: Final = re.compile(r"\b(?:sk|gsk|xai)-[\w*.-]{4,}|\S*\*{2,}\S*|\bBearer\s+\S+", re.IGNORECASE)
"""Keys by their usual look, and words with a part starred out, as services quote them."""
_LONGEST_READ: Final = 4096
"""Looking for keys takes the square of a text's length, and a service may send a very long one."""
_ECHO: Final = 6
"""So many first or last characters of the key give a word away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where to look for a key: the argument, else the file, else the environment."""

    provider: str
    """Named in messages."""
    argument: str | None = field(default=None, repr=False)
    file: Path | None = None
    variable: str = ""
    """Of the environment."""
    optional: bool = False
    """Without a key anywhere a placeholder is sent."""

    def __post_init__(self) -> None:
        if self.argument is not None and self.file is not None:
            raise ValueError("api_key_file: give either api_key or api_key_file, not both")
        if self.argument is not None and not _sendable(self.argument):
            raise ValueError("api_key: must be printable ASCII on one line, without spaces")

    def read(self) -> str:
        """The key. Blocks for the file. Raises AgentError PROVIDER_DENIED."""
        if self.argument is not None:
            return self.argument
        if self.file is not None:
            return self._from_file(self.file)
        found = os.environ.get(self.variable, "").strip()
        if not found and self.optional:
            return PLACEHOLDER
        if not found:
            raise self._denied(
                f"provider '{self.provider}' has no key: set {self.variable or 'api_key'} in the environment, "
                "or give the provider api_key_file"
            )
        if not _sendable(found):
            raise self._denied(f"the key in {self.variable} is no key: it must be printable ASCII without spaces")
        return found

    def _from_file(self, file: Path) -> str:
        try:
            # A pipe or a terminal is opened without waiting, and then refused.
            descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as opened:
                mode = os.fstat(descriptor).st_mode
                if not stat.S_ISREG(mode):
                    raise self._denied(f"the key file {file} is no regular file")
                if mode & _OTHERS:
                    raise self._denied(f"the key file {file} is open to other users; run: chmod 600 {file}")
                content = opened.read(_MOST_BYTES + 1)
        except OSError as error:
            raise self._denied(
                f"the key file {file} cannot be read ({error.strerror or type(error).__name__})"
            ) from None
        key = content.decode(errors="replace").strip()
        if len(content) > _MOST_BYTES or not _sendable(key):
            raise self._denied(f"the key file {file} holds no key: it must be one line of printable ASCII")
        return key

    def _denied(self, message: str) -> AgentError:
        return AgentError(message, reason=PROVIDER_DENIED, details={"provider": self.provider})


def redacted(text: str, key: str) -> str:
    """The text, its first 4,096 characters at most, without the key and without what looks like one, or like a part of
    this one."""
    if len(text) > _LONGEST_READ:
        text = text[:_LONGEST_READ].rpartition(" ")[0]  # a word that is cut may be a key that is not known any more
    if key and key != PLACEHOLDER:
        text = text.replace(key, "***")
        if len(key) >= 2 * _ECHO:
            text = " ".join("***" if key[:_ECHO] in word or key[-_ECHO:] in word else word for word in text.split(" "))
    return _KEY_LIKE.sub("***", text)


def _sendable(key: str) -> bool:
    return bool(key) and key.isascii() and key.isprintable() and " " not in key
