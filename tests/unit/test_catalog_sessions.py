"""The table of sessions in a catalog file, and what a program that sets them is told."""

from pathlib import Path

import pytest

import motet
from motet.catalog import Catalog
from motet.errors import CatalogError
from motet.model.session import SessionSettings, WhenBusy

AGENT = '[agents.sums]\nkind = "command"\nargv = ["cat"]\n'


def load(folder: Path, text: str) -> Catalog:
    (folder / "c.toml").write_text(text)
    return Catalog.load(folder / "c.toml")


def test_sessions_of_a_file_are_those_of_python(tmp_path: Path) -> None:
    said = 'when_busy = "refuse"\nmax_entries = 50\nsummary_agent = "sums"\nsummary_timeout = "30s"\n'
    catalog = load(tmp_path, f"[sessions]\n{said}{AGENT}")
    assert catalog.sessions == SessionSettings(
        when_busy=WhenBusy.REFUSE, max_entries=50, summary_agent="sums", summary_timeout=30
    )


def test_without_a_table_or_with_an_empty_one_the_defaults_hold(tmp_path: Path) -> None:
    assert load(tmp_path, "[sessions]").sessions == load(tmp_path, "").sessions == SessionSettings()


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ('when_busy = "no"', "when_busy", "must be 'wait' or 'refuse'"),
        ("max_entries = 1", "max_entries", "must be 2 or more, not 1"),
        ("max_entries = 2.5", "max_entries", "must be a whole number"),
        ("summary_timeout = -1", "summary_timeout", "-1 is not a length of time; it must be 0 or more"),
        ('summary_agent = "sum"', "summary_agent", "there is no agent 'sum'; did you mean 'sums'?"),
        ("summary = 1", "summary", "is not a known key; did you mean 'summary_agent'?"),
    ],
)
def test_a_mistake_is_named_by_key(tmp_path: Path, text: str, key: str, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, f"[sessions]\n{text}\n{AGENT}")
    assert [(each.table, each.key, each.message) for each in caught.value.problems] == [("sessions", key, message)]


def test_a_summary_agent_whose_table_is_broken_is_not_blamed_twice(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, '[sessions]\nsummary_agent = "sums"\n[agents.sums]\nkind = "command"\n')
    assert [(each.table, each.key) for each in caught.value.problems] == [("agents.sums", "argv")]


def test_settings_of_python_are_checked_too() -> None:
    catalog = Catalog(sessions=SessionSettings(max_entries=0, summary_agent="x", summary_timeout=-1))
    with pytest.raises(CatalogError) as caught:
        catalog.check()
    assert [each.key for each in caught.value.problems] == ["max_entries", "summary_timeout", "summary_agent"]


async def test_a_run_with_a_session_goes_on_from_the_last_one(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[[reply]]\ntext = "noted"\n')
    catalog = load(
        tmp_path,
        """
[providers.p]
kind = "scripted"
script = "s.toml"

[agents.m]
kind = "model"
provider = "p"
model = "x"

[groups.talk]
members = ["m"]
preserve_session = true
""",
    )
    async with motet.open_engine(catalog) as engine:
        await engine.run("talk", "my name is Ada", session_id="s1")
        await engine.run("talk", "who am I?", session_id="s1")
    requests = catalog.model_providers["p"].requests  # type: ignore[attr-defined]  # it is scripted
    assert [message.text for message in requests[1].messages] == ["my name is Ada", "noted", "who am I?"]
