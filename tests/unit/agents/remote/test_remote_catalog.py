"""Remote agents declared in a catalog file."""

from pathlib import Path

from motet.agents.remote import RemoteAgent
from motet.catalog import Catalog

FULL = """
[agents.shout]
kind = "remote"
queue_timeout = "5s"
stop_timeout = "2s"
worker_labels = { region = "eu" }
input_schema = { type = "string" }
replay_safe = true
max_parallel = 7
timeout = "1m"
description = "Says it loudly."

[groups.choir]
members = { agent = "shout", replicas = 3 }
"""


def test_a_table_says_all_that_the_agent_is(tmp_path: Path) -> None:
    file = tmp_path / "motet.toml"
    file.write_text(FULL)
    agent = Catalog.load(file).agents["shout"]
    assert isinstance(agent, RemoteAgent)
    info = agent.info
    assert (info.kind, info.replay_safe, info.max_parallel, info.timeout) == ("remote", True, 7, 60.0)
    assert (info.description, info.input_schema) == ("Says it loudly.", '{"type":"string"}')
    assert agent.desk.queue_timeout == 5.0
    assert agent.worker_labels == {"region": "eu"}


def test_a_name_and_the_kind_are_enough(tmp_path: Path) -> None:
    file = tmp_path / "motet.toml"
    file.write_text('[agents.shout]\nkind = "remote"\n')
    agent = Catalog.load(file).agents["shout"]
    assert isinstance(agent, RemoteAgent)
    assert (agent.desk.queue_timeout, agent.desk.replay_safe) == (30.0, None)
