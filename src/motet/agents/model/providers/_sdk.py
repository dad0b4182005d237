"""What providers with an SDK share: the client's life, one request with its response read to the end, and its errors.

Knows no wire format. An SDK is imported, and a client made, in a thread: that takes most of a second and reads files.
"""

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit
from weakref import WeakKeyDictionary

import trio

from motet.agents._http_checks import check_headers, check_url
from motet.agents._life import Life
from motet.agents.model.providers import prices as _prices
from motet.agents.model.providers._errors import Failures
from motet.agents.model.providers._keys import KeySource
from motet.agents.model.providers._network import check_network, is_own
from motet.agents.model.providers._reading import Answer, Reading, receive
from motet.agents.model.providers.prices import Price
from motet.agents.model.reasons import PROVIDER_MISSING
from motet.errors import AgentError
from motet.model.chat import ChatReply, ChatRequest
from motet.model.usage import Usage
from motet.ports import ChatContext

if TYPE_CHECKING:
    import httpx2

KEEPALIVE_SECONDS: Final = 5.0
"""A connection that nobody used for so long is closed: servers close theirs soon after."""
_SHORTEST: Final = 0.001
"""A time of 0 means none to httpx2."""
_CLOSE_SECONDS: Final = 1.0
_KEY_SAFE: Final = "!#$&'()*+,-./:;=?@[]^_`{|}~"
"""Of an idempotency key: only what a header cannot carry, and the percent sign, is percent-encoded."""


@dataclass(slots=True, eq=False)
class _Client:
    """An SDK's client with the connections under it."""

    sdk: Any
    http: "httpx2.AsyncClient"
    key: str
    connections: int
    in_use: int = 0
    retired: bool = False
    """It closes when its last request ends."""


class _Home:
    """The client of one trio loop: connections belong to the loop that opened them."""

    def __init__(self) -> None:
        self.making = trio.Lock()
        self.current: _Client | None = None

    async def retire(self) -> None:
        client, self.current = self.current, None
        if client is not None:
            client.retired = True
            if not client.in_use:
                with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                    await client.http.aclose()


class SdkProvider(ABC):
    """A provider behind an SDK. See OpenAIProvider for the options that all have."""

    system: str
    package: str
    """Of the SDK."""

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        key: KeySource,
        headers: Mapping[str, str] | None,
        prices: Mapping[str, Price] | None,
        max_connections: int,
        connect_timeout: float,
        read_timeout: float | None,
    ) -> None:
        if not name:
            raise ValueError("name: must not be empty")
        try:
            self._place = check_url(base_url)
        except ValueError as error:
            raise ValueError(f"base_{error}") from None
        if urlsplit(base_url).username or urlsplit(base_url).password or urlsplit(base_url).query:
            raise ValueError("base_url: must have no user, password or query; give the key as api_key or in a header")
        if max_connections < 1:
            raise ValueError("max_connections: must be at least 1")
        if not connect_timeout > 0:
            raise ValueError("connect_timeout: must be a number of seconds above 0")
        if read_timeout is not None and not read_timeout > 0:
            raise ValueError("read_timeout: must be a number of seconds above 0, or None for no bound of its own")
        self.name = name
        self._base_url = base_url
        self._key = key
        self._headers = check_headers(headers or {})
        self._price_table = dict(prices or {})
        self._own = is_own(base_url)
        self._max_connections = max_connections
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self.life = Life(self)
        """For calls to use: it closes the connections that nobody needs any more."""
        self._homes: WeakKeyDictionary[trio.lowlevel.TrioToken, _Home] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, base_url={self._place!r})"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on beside its name."""
        return {"base_url": self._base_url}

    async def chat(self, request: ChatRequest, context: ChatContext, /) -> ChatReply:
        check_network(self.name, self._base_url)
        async with self._client(context.width) as client:
            failures = Failures(provider=self.name, model=request.model, key=client.key)
            body = self._body(request, failures)
            answer = self._answer(request, context, failures)
            try:
                await self._exchange(client, body, context, answer, failures)
                return answer.reply()
            except AgentError:
                raise
            except Exception as error:
                failure = failures.of_exception(error)
                if failure is None:
                    raise
            if failure.details.get("http_status") == 401:
                await self._home().retire()  # the key may have been renewed: the next request reads it again
        # Outside of `except`: the SDK's exception, with the request and its key, does not go along as the context.
        raise failure

    async def aclose(self) -> None:
        """Close the connections, or leave that to the last request under way. The next request opens new ones."""
        await self._home().retire()

    # ----------------------------------------------------------------------------------------------- one of each SDK

    @abstractmethod
    def _body(self, request: ChatRequest, failures: Failures) -> dict[str, Any]:
        """The arguments of the SDK's method. Raises AgentError for what this service cannot do."""

    @abstractmethod
    def _answer(self, request: ChatRequest, context: ChatContext, failures: Failures) -> Answer: ...

    @abstractmethod
    def _make_sdk(self, module: Any, key: str, http: "httpx2.AsyncClient") -> Any:
        """The SDK's client, which never repeats a request. In a thread."""

    @abstractmethod
    def _method(self, sdk: Any) -> Callable[..., Any]:
        """The method that answers a turn, in its form that leaves the response to be read."""

    # --------------------------------------------------------------------------------------------------- the exchange

    async def _exchange(
        self,
        client: _Client,
        body: dict[str, Any],
        context: ChatContext,
        answer: Answer,
        failures: Failures,
    ) -> None:
        headers = {"accept-encoding": "identity"}
        if context.idempotency_key:
            headers["idempotency-key"] = quote(context.idempotency_key, safe=_KEY_SAFE)
        method = self._method(client.sdk)
        opening = method(**body, extra_headers=headers, timeout=self._timeout(context.time_left()))
        async with opening as opened:
            response: httpx2.Response = opened.http_response
            failures.headers = response.headers
            try:
                content_type = response.headers.get("content-type", "").lower()
                if "html" in content_type:
                    raise failures.invalid("answered with a web page: is base_url right?")
                # Some servers do not stream, whatever they are asked.
                streamed = bool(body.get("stream")) and not content_type.startswith("application/json")
                await receive(response, Reading(answer, failures, streamed=streamed))
            finally:  # before the SDK does it, neither shielded nor bounded
                with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                    await response.aclose()

    def _timeout(self, left: float) -> "httpx2.Timeout":
        import httpx2  # noqa: PLC0415 - `import motet` stays quick

        bound = max(left, _SHORTEST) if math.isfinite(left) else None
        read = self._read_timeout if bound is None else min(bound, self._read_timeout or bound)
        return httpx2.Timeout(bound, connect=min(self._connect_timeout, bound or math.inf), read=read)

    def _usage(self, model: str, read: int, written: int, cached: int) -> Usage:
        cost = _prices.cost_nanos(
            self.system,
            model,
            read,
            written,
            cached_input_tokens=cached,
            prices=self._price_table,
            local=self._own,
        )
        if cost is None:
            return Usage(calls=1, input_tokens=read, output_tokens=written, unpriced_calls=1)
        return Usage(calls=1, input_tokens=read, output_tokens=written, cost_nanos=cost)

    # ------------------------------------------------------------------------------------------------- the client's life

    def _home(self) -> _Home:
        token = trio.lowlevel.current_trio_token()
        home = self._homes.get(token)
        if home is None:
            home = self._homes[token] = _Home()
        return home

    @asynccontextmanager
    async def _client(self, width: int | None) -> AsyncIterator[_Client]:
        home = self._home()
        connections = max(self._max_connections, width or 0)
        client = home.current
        if client is None or client.connections < connections:
            async with home.making:
                client = home.current
                if client is None or client.connections < connections:
                    made = await trio.to_thread.run_sync(self._make, connections, limiter=trio.CapacityLimiter(1))
                    await home.retire()
                    client = home.current = made
        client.in_use += 1
        try:
            yield client
        finally:
            client.in_use -= 1
            if client.retired and not client.in_use:
                with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                    await client.http.aclose()

    def _make(self, connections: int) -> _Client:
        """Import the SDK, read the key, load the certificates. Blocks."""
        try:
            module = importlib.import_module(self.package)
        except ModuleNotFoundError as error:
            if error.name != self.package:
                raise
            message = f"provider '{self.name}' needs the package {self.package}: install motet[models]"
            raise AgentError(message, reason=PROVIDER_MISSING, details={"provider": self.name}) from None
        if not self._own:
            _prices.preload()
        key = self._key.read()
        http = self._make_http(connections)
        sdk = self._make_sdk(module, key, http)
        self._method(sdk)  # imports what the first request would have to
        return _Client(sdk, http, key, connections)

    def _make_http(self, connections: int) -> "httpx2.AsyncClient":
        import httpx2  # noqa: PLC0415 - `import motet` stays quick

        return httpx2.AsyncClient(
            limits=httpx2.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=KEEPALIVE_SECONDS,
            ),
            # A proxy is for what lies outside; what is forbidden the network must not reach it through one.
            trust_env=not self._own,
            # A redirect would take the key to wherever the answer says.
            follow_redirects=False,
        )
