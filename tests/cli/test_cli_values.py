"""Words of the command line, and errors as sentences and exit codes."""

from pathlib import Path

import pytest

from motet import errors
from motet_client import _errors as client_errors
from motet_server.cli import exits, values
from motet_server.cli.app import _stdin_last, make_app
from motet_server.cli.exits import UsageError


def test_pairs_keep_further_equal_signs_in_the_value() -> None:
    assert values.pairs("--var", ["a=b=c", "d="]) == {"a": "b=c", "d": ""}


@pytest.mark.parametrize("words", [["a"], ["=b"], ["a=1", "a=2"]])
def test_wrong_pairs_are_refused_with_the_name_of_the_option(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"^--var: "):
        values.pairs("--var", words)


def test_a_wrong_duration_is_refused_with_the_name_of_the_option() -> None:
    assert values.duration("--timeout", "1m30s") == 90
    with pytest.raises(UsageError, match=r"^--timeout: "):
        values.duration("--timeout", "-1")


@pytest.mark.parametrize(("word", "depth"), [("", 0), ("0", 1), ("3", 4), (" 2 ", 3)])
def test_the_depth_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, word: str, depth: int) -> None:
    monkeypatch.setenv("MOTET_DEPTH", word)
    assert values.depth() == depth


@pytest.mark.parametrize("word", ["-1", "x", "1.5", "\u0661", "9" * 40])
def test_a_depth_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("MOTET_DEPTH", word)
    with pytest.raises(UsageError, match=r"^MOTET_DEPTH: "):
        values.depth()


async def test_input_comes_from_a_file_and_bytes_that_are_no_text_stay_bytes(tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"\xff\x00")
    assert (await values.read_input(None, str(file), json=False)).data == b"\xff\x00"
    file.write_bytes(b"caf\xc3\xa9\n")
    assert (await values.read_input(None, str(file), json=False)).text == "caf\u00e9\n"


@pytest.mark.parametrize(
    ("words", "file", "json", "message"),
    [
        ("a", "b", False, "give one of the two"),
        (None, "/nowhere/at/all", False, "^--input-file: cannot read"),
        ("{", None, True, "^--json-input: "),
    ],
)
async def test_wrong_input_is_refused(words: str | None, file: str | None, json: bool, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        await values.read_input(words, file, json=json)


@pytest.mark.parametrize(
    ("words", "moved"),
    [
        (["run", "g", "-"], ["run", "g", "--", "-"]),
        (["run", "g", "-", "--json"], ["run", "g", "--json", "--", "-"]),
        (["run", "g", "--input-file", "-"], ["run", "g", "--input-file", "-"]),
        (["run", "g", "--", "-"], ["run", "g", "--", "-"]),
    ],
)
def test_a_dash_for_standard_input_is_no_option(words: list[str], moved: list[str]) -> None:
    assert _stdin_last(words) == moved


def _all(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _all(child))]


@pytest.mark.parametrize("kind", [*_all(errors.MotetError), *_all(client_errors.MotetClientError)])
def test_every_error_of_engine_and_client_has_an_exit_code(kind: type[Exception]) -> None:
    assert exits.of_error(kind.__new__(kind)) is not None


def test_an_error_in_a_group_is_found_at_any_depth() -> None:
    inner = errors.NotFound("no group 'x'")
    group = BaseExceptionGroup("", [ExceptionGroup("", [inner])])
    assert list(exits.leaves(group)) == [inner]


def test_every_wrong_field_has_a_sentence_of_its_own() -> None:
    error = errors.InvalidRequest([errors.Violation("timeout", "is negative"), errors.Violation("input", "is\nlong")])
    assert exits.sentences(error) == ["timeout: is negative", "input: is\\nlong"]


def test_the_documentation_lists_every_exit_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
    for code in (exits.OK, exits.FAILED, exits.USAGE, exits.TIMED_OUT, exits.UNAVAILABLE, exits.INTERRUPTED, 143, 141):
        assert f"| {code} |" in page


def test_the_documentation_names_every_command_and_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
    app = make_app()
    commands = [name for name in app if not name.startswith("-")]
    assert {"serve", "run", "limits"} <= set(commands)
    leaves = {name: app[name] for name in commands if app[name].default_command is not None}
    for name in set(commands) - leaves.keys():
        leaves |= {f"{name} {inner}": app[name][inner] for inner in app[name] if not inner.startswith("-")}
    for name, leaf in leaves.items():
        assert f"`motet {name}" in page
        for argument in leaf.assemble_argument_collection():
            options = [option for option in argument.names if option.startswith("--")]
            hidden = argument.parameter.show is False  # what a server starts its workers with
            assert hidden or not options or any(option in page for option in options), f"motet {name}: {options}"


def test_a_state_leads_to_its_exit_code() -> None:
    assert [exits.of_state(state) for state in ("SUCCEEDED", "FAILED", "TIMED_OUT", "CANCELLED")] == [0, 1, 3, 1]


def test_a_defect_has_no_exit_code() -> None:
    assert exits.of_error(ZeroDivisionError()) is None
