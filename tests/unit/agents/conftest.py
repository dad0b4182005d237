"""Fixtures for the agents' tests: a scripted HTTP server. Knows no agent."""

import importlib.util
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

_NAME = "motet_tests_http_peer"


@pytest.fixture
async def peer() -> AsyncIterator[Any]:
    # Loaded by path: test folders are no packages, so the file has no name to be imported by.
    if _NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(_NAME, Path(__file__).with_name("http_peer.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[_NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[_NAME])
    async with sys.modules[_NAME].open_peer() as opened:
        yield opened
