"""Where keys come from, that they do not show, and the switch for the network."""

import os
from pathlib import Path

import pytest

from motet.agents.model.providers._keys import PLACEHOLDER, KeySource, redacted
from motet.agents.model.providers._network import check_network, forbid_network, is_loopback, is_own, network_forbidden
from motet.agents.model.providers.anthropic import AnthropicProvider
from motet.agents.model.providers.openai import OpenAIProvider
from motet.agents.model.reasons import NETWORK_FORBIDDEN, PROVIDER_DENIED
from motet.errors import AgentError

KEY = "sk-proj-Abcdef1234567890XyZ"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOTET_NO_NETWORK", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def key_file(folder: Path, content: str = KEY + "\n", mode: int = 0o600) -> Path:
    file = folder / "key"
    file.write_text(content)
    file.chmod(mode)
    return file


def denied(source: KeySource) -> str:
    with pytest.raises(AgentError) as caught:
        source.read()
    assert caught.value.reason == PROVIDER_DENIED
    assert caught.value.__cause__ is None
    return caught.value.message


def test_the_argument_is_the_key() -> None:
    assert KeySource(provider="p", argument=KEY, variable="HOME").read() == KEY


def test_a_file_is_read_each_time_without_its_line_end_and_before_the_environment(tmp_path: Path) -> None:
    file = key_file(tmp_path)
    source = KeySource(provider="p", file=file, variable="HOME")
    assert source.read() == KEY
    file.write_text("renewed\n")
    assert source.read() == "renewed"


def test_the_environment_is_read_when_there_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", f" {KEY}\n")
    assert KeySource(provider="p", variable="A_KEY").read() == KEY


def test_without_a_key_the_message_says_where_to_put_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "")
    assert "A_KEY" in denied(KeySource(provider="p", variable="A_KEY"))


def test_a_server_that_wants_no_key_is_sent_a_placeholder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    assert KeySource(provider="p", variable="A_KEY", optional=True).read() == PLACEHOLDER


def test_a_key_that_cannot_be_sent_is_refused_without_being_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", f"{KEY}\nsecond line")
    message = denied(KeySource(provider="p", variable="A_KEY"))
    assert KEY not in message
    with pytest.raises(ValueError, match=r"^api_key: ") as caught:
        OpenAIProvider(api_key=f"{KEY} second word")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o602, 0o601, 0o620])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    assert "chmod 600" in denied(KeySource(provider="p", file=key_file(tmp_path, mode=mode)))


def test_a_file_that_its_group_can_read_is_taken(tmp_path: Path) -> None:
    assert KeySource(provider="p", file=key_file(tmp_path, mode=0o640)).read() == KEY


def test_a_missing_file_is_an_error_although_the_environment_has_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    assert "cannot be read" in denied(KeySource(provider="p", file=tmp_path / "none", variable="A_KEY"))


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert "no regular file" in denied(KeySource(provider="p", file=pipe))
    assert denied(KeySource(provider="p", file=tmp_path))


@pytest.mark.parametrize("content", ["", " \n", "two\nlines", "k\u00e9y", "x" * 20_000], ids=repr)
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: str) -> None:
    assert "holds no key" in denied(KeySource(provider="p", file=key_file(tmp_path, content[:20_000])))


def test_key_and_file_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="api_key_file: give either"):
        OpenAIProvider(api_key=KEY, api_key_file=key_file(tmp_path))


def test_a_key_does_not_show_in_what_describes_its_owner(tmp_path: Path) -> None:
    source = KeySource(provider="p", argument=KEY)
    providers = (OpenAIProvider(api_key=KEY), AnthropicProvider(api_key=KEY))
    assert KEY not in "".join(map(repr, (source, *providers)))
    assert repr(providers[0]) == "OpenAIProvider(name='openai', base_url='https://api.openai.com/v1')"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"wrong key {KEY} here", "wrong key *** here"),
        ("Incorrect API key provided: sk-proj-********0XyZ. See", "Incorrect API key provided: *** See"),
        ("the key ending in 890XyZ is revoked", "the key ending in *** is revoked"),
        ("got Bearer something-else here", "got *** here"),
        ("The model `gpt-9` does not exist", "The model `gpt-9` does not exist"),
    ],
)
def test_what_echoes_the_key_is_left_out(said: str, told: str) -> None:
    assert redacted(said, KEY) == told


LOCAL = (
    "http://127.0.0.1:8000/v1",
    "http://127.8.8.8",
    "http://[::1]:1",
    "http://localhost:11434/v1",
    "http://a.localhost.",
)
REMOTE = (
    "https://api.openai.com/v1",
    "http://10.0.0.3",
    "http://localhost.example.com",
    "http://0.0.0.0:1",
    "http://vllm:8000",
)


@pytest.mark.parametrize("url", LOCAL)
def test_a_service_on_this_machine_may_be_asked_with_the_network_switched_off(url: str) -> None:
    assert is_loopback(url)
    assert is_own(url)
    with forbid_network():
        check_network("p", url)


@pytest.mark.parametrize("url", REMOTE)
def test_any_other_is_refused_while_the_switch_is_on(url: str) -> None:
    assert not is_loopback(url)
    with forbid_network(), forbid_network():
        pass
    assert not network_forbidden()
    with forbid_network(), pytest.raises(AgentError) as caught:
        check_network("p", url)
    assert caught.value.reason == NETWORK_FORBIDDEN
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("value", "forbidden"), [("1", True), ("yes", True), ("0", False), ("", False), ("off", False)]
)
def test_the_environment_switches_the_network_off(
    monkeypatch: pytest.MonkeyPatch, value: str, *, forbidden: bool
) -> None:
    monkeypatch.setenv("MOTET_NO_NETWORK", value)
    assert network_forbidden() is forbidden


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("name", ""),
        ("base_url", "api.openai.com"),
        ("base_url", "https://user:password@host"),
        ("headers", {"a b": "c"}),
        ("max_connections", 0),
        ("connect_timeout", 0),
        ("read_timeout", -1),
        ("max_tokens_field", "tokens"),
    ],
)
def test_a_wrong_option_is_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{option}: "):
        OpenAIProvider(**{option: value})  # type: ignore[arg-type]
