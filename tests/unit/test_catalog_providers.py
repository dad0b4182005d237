"""Providers of a catalog: with a kind they serve models, without one they are bounds; no file holds a key."""

from pathlib import Path

import pytest

from motet.agents.model.providers.anthropic import AnthropicProvider
from motet.agents.model.providers.openai import OpenAIProvider
from motet.agents.model.providers.prices import Price
from motet.agents.model.providers.scripted import ScriptedProvider
from motet.catalog import Catalog
from motet.errors import CatalogError

P = '[providers.p]\nkind = "scripted"\nscript = "s.toml"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.toml").write_text('[[reply]]\ntext = "hello"\n')
    return tmp_path


def load(folder: Path, text: str) -> Catalog:
    (folder / "c.toml").write_text(text)
    return Catalog.load(folder / "c.toml")


def mistakes(folder: Path, text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(CatalogError) as caught:
        load(folder, text)
    return [(problem.table, problem.key, problem.message) for problem in caught.value.problems]


def test_a_provider_with_a_kind_serves_models_within_the_bounds_of_its_table(folder: Path) -> None:
    catalog = load(
        folder,
        P
        + 'max_parallel = 3\nrate = { calls_per_minute = 60 }\nprice = { input_per_million = 1, output_per_million = "0.5" }',
    )
    assert isinstance(catalog.model_providers["p"], ScriptedProvider)
    assert catalog.providers["p"].max_parallel == 3
    assert catalog.providers["p"].rate is not None


def test_providers_of_services_take_the_options_of_their_classes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM", "red")
    catalog = load(
        folder,
        """
[providers.local]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key_file = "key"
headers = { x-team = "${env:TEAM}" }
max_connections = 7
connect_timeout = "2s"
read_timeout = "1m"
max_tokens_field = "max_tokens"
strict_tools = true

[providers.local.prices."gpt-x"]
input_per_million = 2.5
output_per_million = "10"
cached_input_per_million = 0.25

[providers.claude]
kind = "anthropic"
api_key_env = "MY_KEY"
default_max_tokens = 100
""",
    )
    local, claude = catalog.model_providers["local"], catalog.model_providers["claude"]
    assert isinstance(local, OpenAIProvider)
    assert isinstance(claude, AnthropicProvider)
    assert (local.name, claude.name) == ("local", "claude")
    assert local._price_table == {"gpt-x": Price(2.5, 10, 0.25)}
    assert local._headers == {"x-team": "red"}
    assert local._key.file == folder / "key"
    assert claude._key.variable == "MY_KEY"


def test_a_provider_of_python_is_added_under_its_own_name() -> None:
    catalog = Catalog()
    provider = ScriptedProvider("own")
    catalog.add_provider("own", 2, provider=provider)
    assert catalog.model_providers == {"own": provider}
    assert catalog.providers["own"].max_parallel == 2
    with pytest.raises(CatalogError, match="is named 'own'; add it under its own name"):
        catalog.add_provider("other", provider=provider)


KINDS = "openai, anthropic, scripted"


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ('kind = "opnai"', "kind", f"must be one of {KINDS}; did you mean 'openai'?"),
        ("kind = 3", "kind", f"must be one of {KINDS}"),
        ('base_url = "http://h/"', "base_url", f"needs kind, which says what the provider is: give one of {KINDS}"),
        ('kind = "openai"\napi_key = "sk-1234"', "api_key", "is a secret, which no catalog holds; name a variable in api_key_env, or a file in api_key_file"),
        ('api_key = "sk-1234"', "api_key", "is a secret, which no catalog holds; name a variable in api_key_env, or a file in api_key_file"),
        ('kind = "openai"\napi_key_env = "sk-1234"', "api_key_env", "must be the name of an environment variable, never the key itself"),
        ('kind = "openai"\nbase_url = "h"', "base_url", "must be absolute and begin with http:// or https://"),
        ('kind = "openai"\nbase_url = "http://u:p@h/"', "base_url", "must have no user, password or query; give the key as api_key or in a header"),
        ('kind = "openai"\nconnect_timeout = 0', "connect_timeout", "must be a number of seconds above 0"),
        ('kind = "openai"\nheaders = { a = "${env:MOTET_UNSET}" }', "headers.a", "the environment variable MOTET_UNSET is not set"),
        ('kind = "openai"\nmax_connections = 0', "max_connections", "must be 1 or more"),
        ('kind = "openai"\nbase_urls = "x"', "base_urls", "is not a known key; did you mean 'base_url'?"),
        ('kind = "openai"\nprices = { x = { input_per_million = -1, output_per_million = 1 } }', "prices.x.input_per_million", 'must be US dollars, 0 or more, as a number or as text such as "0.0021"'),
        ('kind = "openai"\nprices = { x = { input_per_million = 1 } }', "prices.x.output_per_million", "is missing"),
        ('kind = "anthropic"\ndefault_max_tokens = 0', "default_max_tokens", "must be 1 or more"),
        ('kind = "scripted"', "script", "is missing"),
        ('kind = "scripted"\nscript = "gone.toml"', "script", "{folder}/gone.toml: the script cannot be read: No such file or directory"),
        ('kind = "scripted"\nscript = "s.toml"\nmax_parallel = 0', "max_parallel", "must be 1 or more, not 0"),
    ],
)  # fmt: skip
def test_a_mistake_of_a_provider_is_named_and_no_key_repeated(folder: Path, text: str, key: str, message: str) -> None:
    found = mistakes(folder, "[providers.p]\n" + text)
    assert found == [("providers.p", key, message.replace("{folder}", str(folder)))]
