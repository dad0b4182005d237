"""The provider for OpenAI's chat completions and every server that speaks them: vLLM, Ollama, llama.cpp, gateways.

The SDK is imported by the first request. The wire format lies in `_openai_format`, the client's life in `_sdk`.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from motet.agents.model.providers._errors import Failures
from motet.agents.model.providers._keys import KeySource
from motet.agents.model.providers._openai_format import ChatCompletion, request_body
from motet.agents.model.providers._reading import Answer
from motet.agents.model.providers._sdk import SdkProvider
from motet.agents.model.providers.prices import Price
from motet.model.chat import ChatRequest
from motet.ports import ChatContext

if TYPE_CHECKING:
    import httpx2

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"

MaxTokensField = Literal["max_completion_tokens", "max_tokens"]


class OpenAIProvider(SdkProvider):
    """Answers through `chat.completions` of OpenAI's SDK. It never repeats a request: retries are the engine's.

    base_url: None means OPENAI_BASE_URL, else OpenAI's own. It must not redirect, and may hold no password.
    api_key, api_key_file, api_key_env: the key itself, or the file, or the variable that it is in. The file is read when
        a client is made, and again after the service refused the key; only its owner and group may be able to read it.
        With a base_url and no key anywhere a placeholder is sent, as local servers want none.
    organization, project: of OpenAI, as headers.
    headers: further ones of every request.
    prices: by model, before the public list; see `prices.find_price`.
    max_connections: open at once; more when the program is known to send more requests at once.
    connect_timeout: seconds to open a connection. read_timeout: seconds without a byte of the answer; None means no bound
        beside the call's own deadline, which is kept in any case.
    strict_tools: hold the model to the tools' schemas, where these can be said strictly.
    max_tokens_field: what `max_output_tokens` is called; None means `max_completion_tokens` for OpenAI itself and
        `max_tokens` elsewhere.

    Raises ValueError, which names the parameter, when one is wrong.
    """

    system = "openai"
    package = "openai"

    def __init__(
        self,
        name: str = "openai",
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        api_key_file: str | Path | None = None,
        organization: str | None = None,
        project: str | None = None,
        headers: Mapping[str, str] | None = None,
        prices: Mapping[str, Price] | None = None,
        max_connections: int = 100,
        connect_timeout: float = 5.0,
        read_timeout: float | None = None,
        strict_tools: bool = False,
        max_tokens_field: MaxTokensField | None = None,
    ) -> None:
        if max_tokens_field is not None and max_tokens_field not in get_args(MaxTokensField):
            raise ValueError(f"max_tokens_field: must be one of {', '.join(get_args(MaxTokensField))}, or None")
        chosen = base_url or os.environ.get("OPENAI_BASE_URL", "").strip() or DEFAULT_BASE_URL
        own_place = chosen.rstrip("/") == DEFAULT_BASE_URL
        super().__init__(
            name=name,
            base_url=chosen,
            key=KeySource(
                provider=name,
                argument=api_key,
                file=None if api_key_file is None else Path(api_key_file),
                variable=api_key_env,
                optional=not own_place,
            ),
            headers=headers,
            prices=prices,
            max_connections=max_connections,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
        )
        self._organization = organization
        self._project = project
        self._strict_tools = strict_tools
        self._max_tokens_field = max_tokens_field or ("max_completion_tokens" if own_place else "max_tokens")

    def _body(self, request: ChatRequest, _failures: Failures) -> dict[str, Any]:
        body = request_body(request, max_tokens_field=self._max_tokens_field, strict_tools=self._strict_tools)
        # The SDK walks through its own arguments to rename their fields, 0.2 ms a message, and merges these as they are.
        long = {name: body.pop(name) for name in ("messages", "tools", "response_format") if name in body}
        return {**body, "messages": (), "extra_body": {**long, **body.get("extra_body", {})}}

    def _answer(self, request: ChatRequest, context: ChatContext, failures: Failures) -> Answer:
        return ChatCompletion(request, failures, self._usage, context.hear)

    def _make_sdk(self, module: Any, key: str, http: "httpx2.AsyncClient") -> Any:
        return module.AsyncOpenAI(
            api_key=key,
            base_url=self._base_url,
            organization=self._organization,
            project=self._project,
            default_headers=self._headers,
            max_retries=0,
            http_client=http,
        )

    def _method(self, sdk: Any) -> Callable[..., Any]:
        method: Callable[..., Any] = sdk.chat.completions.with_streaming_response.create
        return method
