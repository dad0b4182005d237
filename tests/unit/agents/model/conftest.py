"""Fixtures for the tests of model agents: local servers that speak the wire formats of model services."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent)]  # the modules beside the tests, and the HTTP server they stand on

from anthropic_peer import AnthropicPeer  # noqa: E402 - found by the line above
from openai_peer import OpenAIPeer  # noqa: E402 - found by the line above


@pytest.fixture
async def openai() -> AsyncIterator[OpenAIPeer]:
    async with OpenAIPeer() as peer:
        yield peer


@pytest.fixture
async def anthropic() -> AsyncIterator[AnthropicPeer]:
    async with AnthropicPeer() as peer:
        yield peer
