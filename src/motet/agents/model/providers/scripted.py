"""A provider that answers from a script, in trio time, and counts how it is asked: for tests and dry runs. Knows no network."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

from motet.agents.model import reasons
from motet.agents.model.providers._script import (
    Calls,
    Condition,
    Rule,
    Say,
    Scripted,
    Speaker,
    as_say,
    calls_of,
    cut,
    instructions_of,
    results_of,
    tokens_of,
    user_of,
)
from motet.agents.model.providers._script_file import read_script
from motet.agents.model.providers.prices import Price, find_price
from motet.errors import AgentError
from motet.model import usage as _usage
from motet.model.chat import ChatReply, ChatRequest, Finish
from motet.model.usage import Usage
from motet.ports import ChatContext

__all__ = ["Calls", "Condition", "Rule", "Say", "Scripted", "ScriptedProvider", "Speaker"]


class ScriptedProvider:
    """Answers as its script says: the first rule that fits, else the next of `replies`, else `default`.

    replies: answers in the order in which requests come, each given once; or a function of the request, where None
        leaves it to `default`. Requests that come at the same moment come in no sure order: use rules for those.
    rules: answers by what the request says; see `Rule`.
    default: what is answered when nothing else is; None fails the request with SCRIPT_EXHAUSTED.
    model_prices: by model, as in `prices.find_price`.
    price: of models that are not in `model_prices`.
    unpriced: what has no price counts as unpriced instead of free of charge.

    Tokens are counted as a quarter of the characters, at least 1: of all messages with the tool calls in them for what
    is read, of the text and the tool calls for what is written. An answer that raises tells of no usage.
    """

    system = "scripted"

    def __init__(
        self,
        name: str = "scripted",
        *,
        replies: Sequence[Scripted] | Speaker = (),
        rules: Sequence[Rule] = (),
        default: Scripted | Speaker | None = None,
        model_prices: Mapping[str, Price] | None = None,
        price: Price | None = None,
        unpriced: bool = False,
    ) -> None:
        if isinstance(replies, str):
            raise ValueError("replies is one text; give a list of answers, or `default` for one that is always given")  # noqa: TRY004 - wrong input is one kind of error
        self.name = name
        self.requests: list[ChatRequest] = []
        """Every request so far, in the order in which they came."""
        self.contexts: list[ChatContext] = []
        """What came along with each."""
        self.running = 0
        """Requests that are being answered."""
        self.peak = 0
        """Most that were at the same moment."""
        self.cancelled = 0
        """Requests that a cancellation reached."""
        self.closed = 0
        """Times that it was closed."""
        self._speaker = replies if callable(replies) else None
        self._replies = () if callable(replies) else tuple(map(as_say, replies))
        self._given = 0
        self._rules = tuple(rules)
        self._used = [0] * len(self._rules)
        self._default = default if callable(default) or default is None else as_say(default)
        self._model_prices = dict(model_prices or {})
        self._price = price
        self._unpriced = unpriced

    @classmethod
    def load(
        cls,
        path: str | Path,
        name: str = "scripted",
        *,
        model_prices: Mapping[str, Price] | None = None,
        price: Price | None = None,
        unpriced: bool = False,
    ) -> "ScriptedProvider":
        """One whose rules are the `[[reply]]` tables of a TOML file, in their order.

        Conditions: `when_instructions`, `when_user`, `when_model`, `when_result`, regular expressions, and `times`.
        Answers: `text`, `tool` with `arguments`, `tools` (a list of such tables), `error` (a reason, or a table of
        `reason`, `message`, `retryable`, `retry_after`), `delay` in seconds, `pieces`.
        Raises ValueError naming the entry that is wrong.
        """
        rules = read_script(Path(path))
        return cls(name, rules=rules, model_prices=model_prices, price=price, unpriced=unpriced)

    def __repr__(self) -> str:
        return f"ScriptedProvider({self.name!r}, {len(self._rules)} rules, {len(self._replies)} replies)"

    async def chat(self, request: ChatRequest, context: ChatContext, /) -> ChatReply:
        self.requests.append(request)
        self.contexts.append(context)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            return await self._say(self._choose(request), request, context)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def aclose(self) -> None:
        self.closed += 1
        await trio.lowlevel.checkpoint()

    async def _say(self, say: Say | ChatReply, request: ChatRequest, context: ChatContext) -> ChatReply:
        if isinstance(say, ChatReply):
            await trio.lowlevel.checkpoint()
            if request.stream and say.text:
                context.hear(say.text)
            return self._whole(say, request)
        pieces = cut(say.text, say.pieces) if request.stream and say.text else [""]
        for piece in pieces:
            await trio.sleep(say.delay / len(pieces))
            if piece:
                context.hear(piece)
        if say.error is not None:
            # The one exception may be raised often: without this its traceback would grow each time.
            raise say.error.with_traceback(None)
        calls = calls_of(say.tool_calls, request)
        reply = ChatReply(
            text=say.text,
            tool_calls=calls,
            finish=say.finish or (Finish.TOOL_CALLS if calls else Finish.STOP),
            model=say.model,
            usage=say.usage or _usage.NONE,
            response_id=say.response_id,
        )
        return self._whole(reply, request)

    def _whole(self, reply: ChatReply, request: ChatRequest) -> ChatReply:
        return ChatReply(
            text=reply.text,
            tool_calls=reply.tool_calls,
            finish=reply.finish,
            model=reply.model or request.model,
            usage=self._usage(reply, request) if reply.usage is _usage.NONE else reply.usage,
            response_id=reply.response_id,
        )

    def _usage(self, reply: ChatReply, request: ChatRequest) -> Usage:
        read = "".join(m.text + "".join(c.name + c.arguments for c in m.tool_calls) for m in request.messages)
        written = reply.text + "".join(call.name + call.arguments for call in reply.tool_calls)
        tokens = tokens_of(read), tokens_of(written)
        price = find_price(self._model_prices, request.model) or self._price
        return Usage(
            calls=1,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cost_nanos=price.nanos(*tokens) if price else 0,
            unpriced_calls=int(price is None and self._unpriced),
        )

    def _choose(self, request: ChatRequest) -> Say | ChatReply:
        for index, rule in enumerate(self._rules):
            if rule.times is not None and self._used[index] >= rule.times:
                continue
            if rule.matches(request):
                said = rule.reply(request) if callable(rule.reply) else rule.reply
                if said is not None:
                    self._used[index] += 1
                    return as_say(said)
        if self._speaker is not None:
            said = self._speaker(request)
            if said is not None:
                return as_say(said)
        elif self._given < len(self._replies):
            self._given += 1
            return self._replies[self._given - 1]
        said = self._default(request) if callable(self._default) else self._default
        if said is None:
            raise self._exhausted(request)
        return as_say(said)

    def _exhausted(self, request: ChatRequest) -> AgentError:
        asked = {
            "model": request.model,
            "instructions": _short(instructions_of(request)),
            "user": _short(user_of(request)),
            "results": [_short(result) for result in results_of(request)],
        }
        told = ", ".join(f"{key} {value!r}" for key, value in asked.items() if value)
        return AgentError(
            f"the script of {self.name} has no answer for {told or 'an empty request'}; add a rule, a reply or a default",
            reason=reasons.SCRIPT_EXHAUSTED,
            details={"provider": self.name, **asked},
        )


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
