"""The garbage collector of a process that serves: what is set, what is left alone, and that cycles still go."""

import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from motet_proto.v1 import run_service_pb2
from motet_server.cli import collector


@pytest.fixture(autouse=True)
def _collector_as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class Node:
    """One half of a cycle."""

    other: "Node"


def test_what_the_start_has_made_is_left_out_and_rounds_come_less_often() -> None:
    gc.set_threshold(*collector.UNTOUCHED)
    collector.calm()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold() == collector.CALM
    assert gc.isenabled()


def test_thresholds_that_a_catalogs_modules_have_set_stay() -> None:
    gc.set_threshold(123, 4, 5)
    collector.calm()
    assert gc.get_threshold() == (123, 4, 5)


def test_cycles_are_still_collected_without_being_asked_to() -> None:
    gc.set_threshold(*collector.UNTOUCHED)
    collector.calm()
    gone: list[bool] = []
    first, second = Node(), Node()
    first.other, second.other = second, first
    weakref.finalize(first, gone.append, True)
    del first, second
    kept: list[list[int]] = []
    while not gone and len(kept) < 2 * collector.CALM[0]:
        kept.append([])
    assert gone == [True]


def test_a_catalog_is_served_with_it(tmp_path: Path) -> None:
    (tmp_path / "agents.py").write_text("import gc\n\n\ndef tell():\n    return list(gc.get_threshold())\n")
    (tmp_path / "catalog.toml").write_text(
        'agents.tell = { kind = "function", function = "agents.py:tell" }\n'
        'groups.one = { members = ["tell"], aggregation = "first" }\n'
    )
    command = [sys.executable, "-m", "motet_server.cli", "serve", "catalog.toml", "--address", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with grpc.insecure_channel(process.stdout.readline().split()[-1]) as channel:
                run: Any = channel.unary_unary(
                    "/motet.v1.RunService/Run",
                    request_serializer=run_service_pb2.RunRequest.SerializeToString,
                    response_deserializer=run_service_pb2.RunResponse.FromString,
                )
                answer = run(run_service_pb2.RunRequest(group_name="one"), timeout=30)
        finally:
            process.terminate()
    assert json.loads(answer.result.output.json) == list(collector.CALM)
