"""The public names of the patterns: what there is, and that a name costs nothing before it is used."""

import subprocess
import sys

import pytest

import motet.patterns


def test_every_public_name_is_there_and_sorted() -> None:
    assert motet.patterns.__all__ == sorted(motet.patterns.__all__)
    for name in motet.patterns.__all__:
        assert getattr(motet.patterns, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Quartet"):
        _ = motet.patterns.Quartet


def test_importing_the_patterns_loads_none_of_them() -> None:
    program = "import sys, motet.patterns; print([m for m in sys.modules if m.startswith('motet.patterns.') or m == 'pydantic'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
