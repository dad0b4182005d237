"""Fixtures for the tests of patterns: a scripted model that stands for the program's default."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from motet.agents.model.defaults import set_default_model
from motet.agents.model.providers.scripted import ScriptedProvider
from motet.patterns.toolweaver import forget_answers

Default = Callable[..., ScriptedProvider]


@pytest.fixture
def default_model() -> Iterator[Default]:
    """Makes a scripted provider with these options the program's default."""

    def make(**options: Any) -> ScriptedProvider:
        provider = ScriptedProvider(**options)
        set_default_model(provider, "scripted-model")
        return provider

    yield make
    set_default_model(None)


@pytest.fixture(autouse=True)
def _nothing_answered_before() -> Iterator[None]:
    forget_answers()
    yield
    forget_answers()
