"""The provider for Anthropic's messages. The SDK is imported by the first request.

The wire format lies in `_anthropic_format` and `_anthropic_answer`, the client's life in `_sdk`.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from motet.agents.model.providers._anthropic_answer import MessagesAnswer
from motet.agents.model.providers._anthropic_format import Transform, answer_tool, output_schema, request_body
from motet.agents.model.providers._errors import Failures
from motet.agents.model.providers._keys import KeySource
from motet.agents.model.providers._reading import Answer
from motet.agents.model.providers._sdk import SdkProvider
from motet.agents.model.providers.prices import Price
from motet.model.chat import ChatRequest
from motet.ports import ChatContext

if TYPE_CHECKING:
    import httpx2

DEFAULT_BASE_URL: Final = "https://api.anthropic.com"


class AnthropicProvider(SdkProvider):
    """Answers through `messages` of Anthropic's SDK. It never repeats a request: retries are the engine's.

    default_max_tokens: `max_output_tokens` of agents that set none, for the API wants a number.

    A schema for the answer becomes the API's structured output, where that can express it; else a tool that the model
    has to call, whose input is the answer. Tokens read from and written to the cache count as input tokens. `seed`,
    `presence_penalty` and `frequency_penalty`, which the API does not have, are refused with PROVIDER_REJECTED.
    Thinking blocks are not kept, so that thinking cannot go together with tools.

    The other options are those of OpenAIProvider, with ANTHROPIC_BASE_URL and Anthropic's own address. Raises
    ValueError, which names the parameter, when one is wrong.
    """

    system = "anthropic"
    package = "anthropic"

    def __init__(
        self,
        name: str = "anthropic",
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        api_key_env: str = "ANTHROPIC_API_KEY",
        api_key_file: str | Path | None = None,
        headers: Mapping[str, str] | None = None,
        prices: Mapping[str, Price] | None = None,
        max_connections: int = 100,
        connect_timeout: float = 5.0,
        read_timeout: float | None = None,
        default_max_tokens: int = 4096,
    ) -> None:
        if default_max_tokens < 1:
            raise ValueError("default_max_tokens: must be at least 1")
        chosen = base_url or os.environ.get("ANTHROPIC_BASE_URL", "").strip() or DEFAULT_BASE_URL
        super().__init__(
            name=name,
            base_url=chosen,
            key=KeySource(
                provider=name,
                argument=api_key,
                file=None if api_key_file is None else Path(api_key_file),
                variable=api_key_env,
                optional=chosen.rstrip("/") != DEFAULT_BASE_URL,
            ),
            headers=headers,
            prices=prices,
            max_connections=max_connections,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
        )
        self._default_max_tokens = default_max_tokens
        self._transform: Transform | None = None
        """Known once the SDK is imported."""

    def _body(self, request: ChatRequest, failures: Failures) -> dict[str, Any]:
        return request_body(request, failures, default_max_tokens=self._default_max_tokens, transform=self._transform)

    def _answer(self, request: ChatRequest, context: ChatContext, failures: Failures) -> Answer:
        schema = request.output_schema
        by_tool = schema is not None and output_schema(request, self._transform) is None
        return MessagesAnswer(
            request,
            failures,
            self._usage,
            context.hear,
            answer_tool=answer_tool(request) if by_tool else "",
            wrapped=schema is not None and schema.get("type") != "object",
        )

    def _make_sdk(self, module: Any, key: str, http: "httpx2.AsyncClient") -> Any:
        self._transform = getattr(module, "transform_schema", None)
        return module.AsyncAnthropic(
            api_key=key,
            base_url=self._base_url,
            default_headers=self._headers,
            max_retries=0,
            # Spans are of the engine's events; the SDK's own would say everything twice.
            open_telemetry=False,
            http_client=http,
        )

    def _method(self, sdk: Any) -> Callable[..., Any]:
        method: Callable[..., Any] = sdk.messages.with_streaming_response.create
        return method
