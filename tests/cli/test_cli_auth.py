"""The program with tokens and TLS: what is made, who gets in, and what SIGHUP reads again."""

import json
import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_process import Motet, Spawn

from motet_server.auth import Right, Tokens, new_token, table

PATIENCE = 30.0
Authorities = Callable[..., Any]


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A file of the tokens acme and root, which are beside it in files of their own."""
    made = tmp_path / "tokens.toml"
    words = {name: new_token() for name in ("acme", "root")}
    for name, word in words.items():
        (tmp_path / name).write_text(f"{word}\n")
    rights = [Right.RUN, Right.WATCH]
    made.write_text(table("acme", words["acme"], "acme", rights) + table("root", words["root"], "", [Right.ADMIN]))
    return made


class Served:
    """A server process, and what it has said."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.said: list[str] = []
        self.address = process.stdout.readline().removeprefix("serving on ").strip()
        assert self.address, process.stderr.read()

    def reload(self) -> str:
        """Have the files read again; what is said of it."""
        self._process.send_signal(signal.SIGHUP)
        return self.hear("SIGHUP")

    def hear(self, word: str) -> str:
        for line in self._process.stderr:
            self.said.append(line)
            if word in line:
                return str(line)
        raise AssertionError(self.said)

    def end(self) -> str:
        """Drain it; all that it said."""
        self._process.send_signal(signal.SIGTERM)
        _, err = self._process.communicate(timeout=PATIENCE)
        assert self._process.returncode == 0, err
        return "".join(self.said) + str(err)


@pytest.fixture
def serve(catalog: Path, spawn: Spawn) -> Callable[..., Served]:
    return lambda *words: Served(spawn("serve", catalog, "--address", "127.0.0.1:0", "--grace", "0s", *words))


# ------------------------------------------------------------------------------------------------------------- tokens


def test_a_token_is_said_once_and_its_table_printed(motet: Motet) -> None:
    done = motet("token", "new", "ci", "--tenant", "acme", "--right", "run")
    assert done.returncode == 0
    token = done.stderr.split()[-1]
    assert token not in done.stdout
    caller = Tokens.parse(done.stdout)("", {"authorization": f"Bearer {token}"})
    assert (caller.name, caller.tenant, caller.rights) == ("ci", "acme", frozenset({Right.RUN}))


def test_a_token_in_a_file_is_for_its_owner_alone_and_said_nowhere(motet: Motet, tmp_path: Path) -> None:
    file = tmp_path / "token"
    done = motet("token", "new", "ci", "--right", "work", "--token-file", file, "--json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() not in done.stdout + done.stderr
    assert sorted(json.loads(done.stdout)) == ["name", "table"]
    again = motet("token", "new", "ci", "--right", "work", "--token-file", file)
    assert (again.returncode, again.stdout) == (2, "")
    assert "--token-file" in again.stderr


@pytest.mark.parametrize(
    "words", [["ci"], ["c i", "--tenant", "acme"], ["ci", "--tenant", "a b"], ["ci", "--right", "fly"]]
)
def test_a_token_that_could_not_be_used_is_not_made(motet: Motet, words: list[str]) -> None:
    done = motet("token", "new", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "motet_" not in done.stderr


def test_commands_send_the_token_of_a_file_or_of_the_environment(
    serve: Callable[..., Served], motet: Motet, tokens: Path
) -> None:
    served = serve("--tokens", tokens)
    acme = tokens.parent / "acme"
    one = motet("run", "two", "hi", "--server", served.address, "--token-file", acme)
    assert one.returncode == 0, one.stderr
    env = {"MOTET_TOKEN": acme.read_text()}
    listed = motet("runs", "--server", served.address, "--json", env=env)
    assert json.loads(listed.stdout)["tenant"] == "acme"
    run_id = json.loads(listed.stdout)["run_id"]
    for words in (["agents"], ["groups"], ["limits"], ["watch", run_id], ["show", run_id], ["cancel", run_id]):
        done = motet(*words, "--server", served.address, env=env)
        assert done.returncode == 0, (words, done.stderr)
    bench = motet("bench", "two", "--server", served.address, "--seconds", "0.2", "--clients", "1", env=env)
    assert bench.returncode == 0, bench.stderr
    assert acme.read_text().strip() not in served.end()


def test_a_token_that_is_missing_wrong_or_too_weak_is_a_mistake_of_the_command(
    serve: Callable[..., Served], motet: Motet, tokens: Path
) -> None:
    served = serve("--tokens", tokens)
    place = ("--server", served.address)
    without = motet("agents", *place)
    assert (without.returncode, without.stdout) == (2, "")
    assert "needs a token" in without.stderr
    wrong = motet("agents", *place, env={"MOTET_TOKEN": "motet_wrong"})
    assert wrong.returncode == 2
    assert "motet_wrong" not in wrong.stderr
    other = motet("run", "two", "--tenant", "other", *place, "--token-file", tokens.parent / "acme")
    assert other.returncode == 2
    assert "'other'" in other.stderr


@pytest.mark.parametrize("content", ["", "two words", "x" * 10_000, None])
def test_a_file_without_one_token_is_refused_by_the_options_name(
    motet: Motet, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    done = motet("agents", "--server", "127.0.0.1:1", "--token-file", file)
    assert done.returncode == 2
    assert done.stderr.startswith("motet: --token-file: ")
    assert content is None or not content or content not in done.stderr


def test_tokens_are_read_again_and_a_wrong_file_changes_nothing(
    serve: Callable[..., Served], motet: Motet, tokens: Path
) -> None:
    served = serve("--tokens", tokens)
    words = ("agents", "--server", served.address, "--token-file", tokens.parent / "acme")
    whole = tokens.read_text()
    tokens.write_text(whole + "oops =")
    assert "nothing is changed: --tokens" in served.reload()
    assert motet(*words).returncode == 0
    tokens.write_text(whole[whole.index("[tokens.root]") :])
    assert "1 token read again" in served.reload()
    assert motet(*words).returncode == 2
    served.end()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="workers share a port on Linux")
def test_every_worker_reads_the_tokens_again(serve: Callable[..., Served], motet: Motet, tokens: Path) -> None:
    served = serve("--tokens", tokens, "--workers", "2", "--store", tokens.parent / "runs.db")
    words = ("agents", "--server", served.address, "--token-file", tokens.parent / "acme")
    assert motet(*words).returncode == 0
    tokens.write_text("")
    served.reload()
    served.hear("SIGHUP")
    end = time.monotonic() + PATIENCE
    for _ in range(4):  # over as many connections, which the kernel deals out
        assert motet(*words).returncode == 2
        assert time.monotonic() < end
    served.end()


# ---------------------------------------------------------------------------------------------------------------- TLS


def test_the_program_talks_tls_to_its_own_server(
    serve: Callable[..., Served], motet: Motet, tokens: Path, authorities: Authorities
) -> None:
    home = authorities()
    cert, key = home.issue("server")
    served = serve("--tls-cert", cert, "--tls-key", key, "--client-ca", home.ca, "--tokens", tokens)
    own_cert, own_key = home.issue("client")
    words = ("run", "two", "--server", served.address, "--token-file", tokens.parent / "acme", "--tls-ca", home.ca)
    done = motet(*words, "--tls-cert", own_cert, "--tls-key", own_key)
    assert done.returncode == 0, done.stderr
    assert motet(*words).returncode == 4
    assert motet("agents", "--server", served.address).returncode == 4
    assert "unencrypted" not in served.end()


def test_the_certificate_is_read_again(serve: Callable[..., Served], motet: Motet, authorities: Authorities) -> None:
    home, other = authorities(), authorities("other")
    cert, key = home.issue("server")
    served = serve("--tls-cert", cert, "--tls-key", key)
    other.issue("server")  # in the same files
    assert "the certificate read again" in served.reload()
    assert motet("agents", "--server", served.address, "--tls-ca", other.ca).returncode == 0
    key.write_text("no key")
    assert "nothing is changed: --tls-cert" in served.reload()
    assert motet("agents", "--server", served.address, "--tls-ca", other.ca).returncode == 0
    assert motet("agents", "--server", served.address, "--tls-ca", home.ca).returncode == 4
    served.end()


def test_options_that_do_not_fit_together_are_refused_by_name(
    motet: Motet, catalog: Path, tmp_path: Path, authorities: Authorities
) -> None:
    cert, key = authorities().issue("server")
    missing = tmp_path / "missing"
    mistakes: list[tuple[str, list[object]]] = [
        ("--tls-cert, --tls-key", ["--tls-cert", cert]),
        ("--client-ca", ["--client-ca", cert]),
        ("--tls-cert, --tls-key", ["--tls-cert", missing, "--tls-key", key]),
        ("--tls-cert, --tls-key, --client-ca", ["--tls-cert", cert, "--tls-key", key, "--client-ca", missing]),
        ("--tokens", ["--tokens", missing]),
        ("--tokens", ["--tokens", cert]),
    ]
    for named, words in mistakes:
        done = motet("serve", catalog, *words)
        assert done.returncode == 2, words
        assert done.stderr.startswith(f"motet: {named}"), done.stderr
    done = motet("agents", "--server", "127.0.0.1:1", "--tls-cert", cert)
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "motet")
    assert "--tls-key" in done.stderr


def test_tokens_without_tls_are_warned_of_where_others_can_listen(catalog: Path, spawn: Spawn, tokens: Path) -> None:
    served = Served(spawn("serve", catalog, "--address", "0.0.0.0:0", "--grace", "0s", "--tokens", tokens))
    assert "unencrypted" in served.end()
