"""What all tests share: running a plan with every promise about runs checked."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import motet
from motet.testing import check_run

CheckedRun = Callable[..., Awaitable[motet.RunResult]]


@pytest.fixture
def checked_run() -> CheckedRun:
    """Runs a plan, follows it from the first event to the last, and checks events and result against each other."""

    async def run(engine: motet.Engine, plan: motet.Plan, input: object = "", **options: Any) -> motet.RunResult:
        async with engine.stream(plan, input, **options) as stream:
            events = [event async for event in stream]
        assert stream.result is not None
        check_run(events, stream.result, plan=plan)
        return stream.result

    return run
