"""The program's default model: set once by the program, or named by the environment. Makes a provider when one is needed."""

import os
from typing import Final

from motet.agents.model import reasons
from motet.agents.model.choice import ModelChoice
from motet.errors import AgentError
from motet.ports import Provider

MODEL_VARIABLE: Final = "MOTET_MODEL"
KEY_VARIABLE: Final = "OPENAI_API_KEY"
URL_VARIABLE: Final = "OPENAI_BASE_URL"


class _Default:
    """What was set, and the provider that was made for the environment."""

    chosen: ModelChoice | None = None
    made: tuple[str, Provider] | None = None
    """With the address that it was made for."""


def set_default_model(provider: Provider | None, model: str = "") -> None:
    """Let agents without a provider of their own ask this one, and `model` where they name none; None goes back to the
    environment."""
    _Default.chosen = None if provider is None else ModelChoice(provider, model)


def default(model: str = "") -> ModelChoice:
    """The provider and model for an agent that has no provider and names this model, or none.

    Without `set_default_model` the environment decides: an OpenAI-compatible service at OPENAI_BASE_URL, or OpenAI itself with
    OPENAI_API_KEY, and the model MOTET_MODEL. Raises AgentError PROVIDER_MISSING when there is no provider or no model.
    """
    chosen = _Default.chosen
    provider = chosen.provider if chosen is not None else _of_environment()
    if provider is None:
        raise AgentError(
            f"the agent has no provider; give it one, call set_default_model, or set {KEY_VARIABLE} or {URL_VARIABLE}",
            reason=reasons.PROVIDER_MISSING,
        )
    named = model or (chosen.model if chosen is not None else "") or os.environ.get(MODEL_VARIABLE, "")
    if not named:
        raise AgentError(
            f"the agent names no model; give it one, name it in set_default_model, or set {MODEL_VARIABLE}",
            reason=reasons.PROVIDER_MISSING,
        )
    return ModelChoice(provider, named)


async def aclose() -> None:
    """Release what the default provider holds. It may be used again."""
    found = _Default.chosen.provider if _Default.chosen is not None else None
    if found is not None:
        await found.aclose()
    if _Default.made is not None:
        await _Default.made[1].aclose()


def _of_environment() -> Provider | None:
    url = os.environ.get(URL_VARIABLE, "")
    if not url and not os.environ.get(KEY_VARIABLE):
        return None
    if _Default.made is None or _Default.made[0] != url:
        from motet.agents.model.providers.openai import OpenAIProvider  # noqa: PLC0415 - only when the environment asks

        _Default.made = (url, OpenAIProvider(base_url=url or None))
    return _Default.made[1]
