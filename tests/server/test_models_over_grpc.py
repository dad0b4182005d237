"""Model agents and MCP agents of a catalog file over a real socket: listed, run, streamed, started, with sessions; and no key
anywhere on the wire."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import grpc
import pytest
import trio

import motet
import motet_server
from motet.agents.model.providers.scripted import ScriptedProvider
from motet.catalog import Catalog
from motet_client import trio as client_trio
from motet_proto.v1 import catalog_service_pb2
from motet_proto.v1.catalog_service_pb2_grpc import CatalogServiceStub
from motet_proto.v1.payload_pb2 import Payload
from motet_proto.v1.run_service_pb2 import RunRequest, StreamRunRequest
from motet_proto.v1.run_service_pb2_grpc import RunServiceStub

T = TypeVar("T")
KEY = "sk-never-on-the-wire"
CATALOG = """
[providers.p]
kind = "scripted"
script = "script.toml"

[providers.q]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
headers = { authorization = "Bearer ${env:MOTET_TEST_KEY}" }

[mcp.files]
command = ["files-server"]
env = { TOKEN = "${env:MOTET_TEST_KEY}" }

[agents.m]
kind = "model"
provider = "p"
model = "gpt-x"
description = "Answers"
tools = ["tools.py:look"]

[agents.offline]
kind = "model"
provider = "q"
model = "gpt-x"
retry = { max_attempts = 1 }

[agents.read]
kind = "mcp"
server = "files"
tool = "read"

[groups.talk]
members = ["m"]
aggregation = "first"
preserve_session = true

[groups.offline]
members = ["offline"]
"""
SCRIPT = """
[[reply]]
when_result = "."
text = "Rome has 21 degrees."
pieces = 4
delay = 0.4

[[reply]]
when_user = "weather"
tool = "look"
arguments = { city = "Rome" }

[[reply]]
text = "noted"
"""
TOOLS = """
def look(city: str) -> str:
    return city + ": 21 degrees"
"""


class Rig(NamedTuple):
    engine: Any
    address: str
    channel: grpc.Channel
    provider: ScriptedProvider

    async def call(self, method: Callable[..., T], request: object) -> T:
        return await trio.to_thread.run_sync(method, request)

    @property
    def runs(self) -> RunServiceStub:
        return RunServiceStub(self.channel)


@asynccontextmanager
async def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setenv("MOTET_TEST_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (folder / "catalog.toml").write_text(CATALOG)
    (folder / "script.toml").write_text(SCRIPT)
    (folder / "tools.py").write_text(TOOLS)
    catalog = Catalog.load(folder / "catalog.toml")
    provider = catalog.model_providers["p"]
    assert isinstance(provider, ScriptedProvider)
    async with motet.open_engine(catalog) as engine, motet_server.serve(engine, "127.0.0.1:0") as server:
        with grpc.insecure_channel(server.address) as channel:
            yield Rig(engine, server.address, channel, provider)


@pytest.fixture
async def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    async with opened(tmp_path, monkeypatch) as rig:
        yield rig


def asks(group: str, text: str, **fields: Any) -> RunRequest:
    return RunRequest(group_name=group, input=Payload(text=text), **fields)


async def test_agents_have_their_kinds_and_no_key(models: Rig) -> None:
    stub = CatalogServiceStub(models.channel)
    listed = await models.call(stub.ListAgents, catalog_service_pb2.ListAgentsRequest())
    kinds = {agent.name: agent.kind for agent in listed.agents}
    model, mcp = catalog_service_pb2.AGENT_KIND_MODEL, catalog_service_pb2.AGENT_KIND_MCP
    assert kinds == {"m": model, "offline": model, "read": mcp}
    found = await models.call(stub.GetAgent, catalog_service_pb2.GetAgentRequest(name="m"))
    assert (found.agent.kind, found.agent.description) == (model, "Answers")
    groups = await models.call(stub.ListGroups, catalog_service_pb2.ListGroupsRequest())
    assert KEY.encode() not in listed.SerializeToString() + groups.SerializeToString()


async def test_a_run_brings_the_answer_with_its_turns_and_tools(models: Rig) -> None:
    request = asks("talk", "the weather?")
    result = (await models.call(models.runs.Run, request)).result
    assert result.output.text == "Rome has 21 degrees."
    (outcome,) = result.groups[0].outcomes
    metadata = dict(outcome.metadata)
    assert (metadata["turns"], metadata["model"], metadata["provider"]) == (2, "gpt-x", "p")
    assert [group.name for group in outcome.nested] == ["turn_1", "tools_1", "turn_2"]
    assert outcome.usage.calls >= 1


async def test_pieces_of_the_answer_reach_who_streams_the_run(models: Rig) -> None:
    request = StreamRunRequest(request=asks("talk", "the weather?"))
    stream = models.runs.StreamRun(request)
    messages = await trio.to_thread.run_sync(list, stream)
    events = [event for message in messages for event in message.events]
    pieces = [
        event.member_progress.report.json
        for event in events
        if event.HasField("member_progress") and event.group == "turn_2"
    ]
    assert len(pieces) > 1
    said = [motet.Payload.from_json_text(piece).json()["delta"] for piece in pieces]
    assert "".join(said) == "Rome has 21 degrees."


async def test_a_client_hears_the_pieces_while_the_model_still_writes(models: Rig) -> None:
    async with client_trio.Client(models.address) as client, client.stream("talk", input="the weather?") as stream:
        running = [
            models.provider.running
            async for event in stream
            if type(event.detail).__name__ == "MemberProgress" and event.group == "turn_2"
        ]
        assert stream.result is not None
        assert stream.result.output is not None
        assert stream.result.output.text == "Rome has 21 degrees."
    assert running[0] == 1


async def test_a_started_run_of_a_model_agent_goes_on_by_itself(models: Rig) -> None:
    async with client_trio.Client(models.address) as client:
        started = await client.start("talk", input="the weather?")
        async with client.watch(started.run_id) as watched:
            kinds = [type(event.detail).__name__ async for event in watched]
    assert "MemberProgress" in kinds
    assert watched.result is not None
    assert watched.result.output is not None
    assert watched.result.output.text == "Rome has 21 degrees."


async def test_a_session_goes_on_over_two_runs(models: Rig) -> None:
    for said in ("my name is Ada", "who am I?"):
        request = asks("talk", said, session_id="s1")
        await models.call(models.runs.Run, request)
    await models.call(models.runs.Run, asks("talk", "alone", session_id="s2"))
    told = [[message.text for message in asked.messages] for asked in models.provider.requests]
    assert told == [["my name is Ada"], ["my name is Ada", "noted", "who am I?"], ["alone"]]


async def test_a_failure_of_a_provider_brings_no_key(models: Rig) -> None:
    request = asks("offline", "hi")
    response = await models.call(models.runs.Run, request)
    failure = response.result.groups[0].outcomes[0].failure
    assert failure.reason == "PROVIDER_UNAVAILABLE"
    assert KEY.encode() not in response.SerializeToString()
