"""Services that agents of a catalog file ask: providers of models and servers of tools. Their tables, and the services made of
them. A key is never written in a file: it is named, and read when a request needs it."""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from motet._catalog_bounds import ProviderTable
from motet._catalog_build import WITH_VARIABLES, BuildError, filled, misplaced, placed
from motet._catalog_values import Dollars, Duration, NounTable, Table, Text
from motet.model.bounds import ProviderBounds
from motet.model.session import SessionSettings, WhenBusy
from motet.ports import Provider

_Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
_BOUNDS: Final = frozenset(ProviderTable.model_fields)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NAME_KEYS: Final = "is a secret, which no catalog holds; name a variable in api_key_env, or a file in api_key_file"
"""What is said of `api_key`."""


def _per_token(nanos: int) -> Decimal:
    return Decimal(nanos).scaleb(-9)


def _busy(value: str) -> WhenBusy:
    return WhenBusy(value.upper())


def _variable(value: str) -> str:
    # Whoever writes the key itself here is told so, and the key is not repeated.
    if _VARIABLE.fullmatch(value) is None:
        raise ValueError("must be the name of an environment variable, never the key itself")
    return value


Price = Annotated[Dollars, AfterValidator(_per_token)]


class PriceTable(Table):
    """One of `prices`: US dollars for a million tokens."""

    input_per_million: Price
    output_per_million: Price
    cached_input_per_million: Price = None


class ServiceTable(ProviderTable):
    """What providers with a kind have, whatever it is."""

    kind: str
    prices: dict[str, PriceTable] = Field(default_factory=dict)

    def made(self) -> ProviderBounds:
        """Its bounds; the provider itself is built by `build_provider`."""
        return ProviderBounds(**{key: value for key, value in self.given().items() if key in _BOUNDS})


class _SdkTable(ServiceTable):
    base_url: Text | None = None
    api_key_env: Annotated[str, AfterValidator(_variable)] = ""
    api_key_file: Text | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    max_connections: _Count = 100
    connect_timeout: Duration = 5.0
    read_timeout: Duration | None = None


class OpenAITable(_SdkTable):
    """kind = "openai"."""

    organization: str | None = None
    project: str | None = None
    strict_tools: bool = False
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] | None = None


class AnthropicTable(_SdkTable):
    """kind = "anthropic"."""

    default_max_tokens: _Count = 4096


class ScriptedTable(ServiceTable):
    """kind = "scripted"."""

    script: Text
    price: PriceTable | None = None
    unpriced: bool = False


PROVIDER_TABLES: Final[dict[str, type[ServiceTable]]] = {
    "openai": OpenAITable,
    "anthropic": AnthropicTable,
    "scripted": ScriptedTable,
}


class McpTable(Table):
    """`[mcp.NAME]`."""

    command: list[Text] | None = None
    env: dict[Text, Text] = Field(default_factory=dict)
    inherit_env: list[Text] = Field(default_factory=list)
    cwd: Text | None = None
    url: Text | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    tools: list[Text] | None = None
    prefix: str = ""
    start_timeout: Duration = 30.0
    call_timeout: Duration | None = None
    max_parallel: _Count | None = None
    restart: bool = True
    restart_backoff: Duration = 0.5


class SessionsTable(NounTable):
    """`[sessions]`."""

    noun = SessionSettings

    when_busy: Annotated[Literal["wait", "refuse"], AfterValidator(_busy)] = "wait"
    max_entries: int = 200
    summary_agent: str = ""
    summary_timeout: Duration = 60.0


def build_provider(name: str, table: ServiceTable, folder: Path) -> Provider:
    """The provider of a table with a kind; its files are relative to `folder`. Raises BuildError."""
    given, problems = _texts_of({key: value for key, value in table.given().items() if key not in _BOUNDS})
    del given["kind"]
    prices = _prices(given.pop("prices", {}))
    if problems:
        raise BuildError(problems)
    try:
        if isinstance(table, ScriptedTable):
            return _scripted(name, given, prices, folder)
        if "api_key_file" in given:
            given["api_key_file"] = folder / given["api_key_file"]
        if isinstance(table, OpenAITable):
            from motet.agents.model.providers.openai import OpenAIProvider  # noqa: PLC0415 - only when a file has one

            return OpenAIProvider(name, prices=prices, **given)
        from motet.agents.model.providers.anthropic import AnthropicProvider  # noqa: PLC0415 - only when a file has one

        return AnthropicProvider(name, prices=prices, **given)
    except (ValueError, TypeError) as error:
        raise BuildError([placed(str(error), type(table))]) from error


def build_server(name: str, table: McpTable, folder: Path) -> Any:
    """The MCP server of a table; its working directory is relative to `folder`. Raises BuildError."""
    from motet.agents.mcp.server import McpServer  # noqa: PLC0415 - only when a file has one

    given, problems = _texts_of(table.given())
    if problems:
        raise BuildError(problems)
    if "cwd" in given:
        given["cwd"] = folder / given["cwd"]
    try:
        return McpServer(name, **given)
    except (ValueError, TypeError) as error:
        raise BuildError([placed(str(error), McpTable)]) from error


def kindless(table: Mapping[str, Any]) -> str:
    """The first key of a provider without a kind that only one with a kind has; empty when there is none."""
    known = {field for model in PROVIDER_TABLES.values() for field in model.model_fields} - _BOUNDS
    return next((key for key in table if key in known or key == "api_key"), "")


def _scripted(name: str, given: dict[str, Any], prices: dict[str, Any], folder: Path) -> Provider:
    from motet.agents.model.providers.scripted import ScriptedProvider  # noqa: PLC0415 - only when a file has one

    if "price" in given:
        given["price"] = _price(given["price"])
    script = folder / given.pop("script")
    try:
        return ScriptedProvider.load(script, name, model_prices=prices, **given)
    except ValueError as error:
        raise BuildError([("script", str(error))]) from error


def _prices(tables: Mapping[str, PriceTable]) -> dict[str, Any]:
    return {model: _price(table) for model, table in tables.items()}


def _price(table: PriceTable) -> Any:
    from motet.agents.model.providers import prices  # noqa: PLC0415 - only when a file has prices

    return prices.Price(table.input_per_million, table.output_per_million, table.cached_input_per_million)


def _texts_of(given: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """With variables of the environment filled in, and what is wrong with them."""
    problems = list(misplaced(given))
    return {
        key: filled(key, value, problems) if key in WITH_VARIABLES else value for key, value in given.items()
    }, problems
