"""What OxyGent's agents remember and say to models: messages, the last rounds of a session. Knows no agent's options."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motet.agents.model.agent import ModelAgent
from motet.model import chat
from motet.model.agent import Reply
from motet.model.payload import Payload
from motet.model.plan import Plan
from motet.model.result import RunResult
from motet.model.session import SUMMARY, SessionEntry
from motet.ports import Call, Resident, Spendable
from motet.ports.agent import CallHost


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation with a model."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str

    @classmethod
    def system_message(cls, content: str) -> "Message":
        return cls("system", content)

    @classmethod
    def user_message(cls, content: str) -> "Message":
        return cls("user", content)

    @classmethod
    def assistant_message(cls, content: str) -> "Message":
        return cls("assistant", content)

    def to_dict(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


class Memory:
    """Messages in order."""

    def __init__(self, messages: Sequence[Message] = ()) -> None:
        self.messages = list(messages)

    def add_message(self, message: Message) -> None:
        self.messages.append(message)

    def add_messages(self, messages: Sequence[Message]) -> None:
        self.messages.extend(messages)

    def to_dict_list(self) -> list[dict[str, str]]:
        """As a model's `messages`."""
        return [message.to_dict() for message in self.messages]


def chat_messages(messages: object) -> tuple[chat.Message, ...]:
    """What a model is asked with: dicts of `role` and `content`, messages, or a whole memory. Raises ValueError."""
    given = messages.messages if isinstance(messages, Memory) else messages
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise ValueError('messages: give a list of {"role": ..., "content": ...}, at least one')
    return tuple(_chat_messages(given))


def _chat_messages(given: Sequence[Any]) -> Iterator[chat.Message]:
    for place, message in enumerate(given):
        own = message.to_dict() if isinstance(message, Message) else message
        if not isinstance(own, Mapping) or own.get("role") not in {"system", "user", "assistant"}:
            raise ValueError(f"messages[{place}]: has no role of system, user or assistant")
        yield chat.Message(role=chat.Role(own["role"]), text=Payload.of(own.get("content", "")).text)


class PromptAgent(ModelAgent):
    """A model agent that sees the last rounds of its session only: `recent` runs, and the summary of what came before."""

    recent: int | None = None
    """None means all."""

    async def call(self, call: Call, /) -> Reply:
        if self.recent is not None and call.session_id:
            call.host = _Recent(call.host, self.recent)
        return await super().call(call)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {**super().settings, "recent": self.recent}


class _Recent:
    """What stands behind a call, with a shorter history."""

    def __init__(self, host: CallHost, rounds: int) -> None:
        self._host = host
        self._rounds = rounds

    @property
    def history(self) -> Sequence[SessionEntry]:
        entries = self._host.history
        runs = list(dict.fromkeys(entry.run_id for entry in entries if entry.role != SUMMARY))
        kept = set(runs[len(runs) - self._rounds :]) if self._rounds < len(runs) else set(runs)
        return tuple(entry for entry in entries if entry.role == SUMMARY or entry.run_id in kept)

    def report(self, call: Call, report: Payload) -> None:
        self._host.report(call, report)

    async def run(
        self,
        call: Call,
        target: Plan | str,
        input: Payload | None,
        variables: Mapping[str, Payload],
        timeout: float | None,
        *,
        deeper: bool = True,
    ) -> RunResult:
        return await self._host.run(call, target, input, variables, timeout, deeper=deeper)

    def left(self, what: Spendable) -> int | None:
        return self._host.left(what)

    def keep(self, resident: Resident) -> None:
        self._host.keep(resident)
