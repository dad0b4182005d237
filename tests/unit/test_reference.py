"""Import strings: what they find, and what they say when they find nothing."""

import json
import os.path
import sys
from pathlib import Path

import pytest

from motet._reference import BadReference, is_reference, load_reference


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_module_reference_gives_the_attribute() -> None:
    assert load_reference("json:dumps") is json.dumps
    assert load_reference("os.path:join") is os.path.join
    assert load_reference("json:JSONDecoder.decode") is json.JSONDecoder.decode


def test_a_file_reference_is_relative_to_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "sub/ref_relative.py", "def shout(text): return text.upper()\n")
    assert load_reference("sub/ref_relative.py:shout", tmp_path)("a") == "A"


def test_an_absolute_file_reference_ignores_the_folder(tmp_path: Path) -> None:
    path = write(tmp_path, "ref_absolute.py", "value = 3\n")
    assert load_reference(f"{path}:value", Path("/nowhere")) == 3


def test_a_file_is_imported_once_under_its_plain_name(tmp_path: Path) -> None:
    write(tmp_path, "ref_once.py", "class A: pass\nclass B: pass\n")
    first = load_reference("ref_once.py:A", tmp_path)
    assert load_reference("../" + tmp_path.name + "/ref_once.py:A", tmp_path) is first
    assert first.__module__ == "ref_once"
    assert sys.modules["ref_once"].A is first


def test_a_file_can_import_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "ref_neighbour.py", "word = 'near'\n")
    write(tmp_path, "ref_house.py", "from ref_neighbour import word\n")
    assert load_reference("ref_house.py:word", tmp_path) == "near"


def test_files_of_one_name_in_two_folders_do_not_meet(tmp_path: Path) -> None:
    write(tmp_path, "a/ref_twin.py", "value = 'a'\n")
    write(tmp_path, "b/ref_twin.py", "value = 'b'\n")
    assert load_reference("a/ref_twin.py:value", tmp_path) == "a"
    assert load_reference("b/ref_twin.py:value", tmp_path) == "b"
    assert load_reference("a/ref_twin.py:value", tmp_path) == "a"


def test_a_file_named_like_a_library_does_not_hide_it(tmp_path: Path) -> None:
    write(tmp_path, "json.py", "dumps = 'mine'\n")
    assert load_reference("json.py:dumps", tmp_path) == "mine"
    assert load_reference("json:dumps") is json.dumps


def test_a_file_name_need_not_be_an_identifier(tmp_path: Path) -> None:
    write(tmp_path, "my-agents.v2.py", "value = 1\n")
    assert load_reference("my-agents.v2.py:value", tmp_path) == 1


@pytest.mark.parametrize("text", ["", ":", "json", "json:", ":dumps", "a b:c", "json:a b", "json:dumps:x", "1a:b"])
def test_text_of_another_form_is_refused(text: str) -> None:
    assert not is_reference(text)
    with pytest.raises(BadReference, match=r"write module:attribute or file\.py:attribute"):
        load_reference(text)


def test_a_missing_file_is_named_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(BadReference, match=r"there is no file 'gone\.py' in .*" + tmp_path.name):
        load_reference("gone.py:x", tmp_path)


@pytest.mark.parametrize("place", ["\0.py:x", "a" * 5000 + ".py:x"])
def test_a_path_that_no_system_takes_is_a_missing_file(place: str, tmp_path: Path) -> None:
    with pytest.raises(BadReference, match="there is no file"):
        load_reference(place, tmp_path)


def test_a_missing_module_says_how_to_name_a_file() -> None:
    with pytest.raises(BadReference, match=r"there is no module 'motet_nowhere\.deep'; for a file write"):
        load_reference("motet_nowhere.deep:x")


def test_a_missing_attribute_suggests_a_near_one() -> None:
    with pytest.raises(BadReference, match=r"json has no attribute 'dmups'; did you mean 'dumps'\?"):
        load_reference("json:dmups")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def (:", "SyntaxError"),
        ("import motet_nowhere", "ModuleNotFoundError: No module named 'motet_nowhere'"),
        ("raise SystemExit(2)", "SystemExit: 2"),
    ],
)
def test_a_file_whose_import_fails_says_why_and_leaves_nothing_behind(text: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, "json.py", text + "\n")
    before = set(sys.modules)
    for _ in range(2):
        with pytest.raises(BadReference, match=rf"importing json\.py failed: {said}"):
            load_reference("json.py:x", tmp_path)
    assert not {name for name in set(sys.modules) - before if name.startswith("json_")}


def test_a_module_whose_own_import_fails_is_not_called_missing(tmp_path: Path) -> None:
    write(tmp_path, "ref_broken.py", "import motet_nowhere\n")
    sys.path.append(str(tmp_path))
    with pytest.raises(BadReference, match="importing ref_broken failed: ModuleNotFoundError"):
        load_reference("ref_broken:x")
