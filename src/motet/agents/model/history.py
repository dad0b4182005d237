"""What a model is shown of a session's past. Pure; knows no store and no provider."""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from motet.model.chat import Message, Role
from motet.model.payload import Payload
from motet.model.session import MEMBER, SUMMARY, USER, SessionEntry

History: TypeAlias = Literal["own", "all", "none"]
"""`own`: what users said and what the member itself answered; `all`: what other members answered too; `none`: nothing."""

SUMMARY_LEAD_IN: Final = "Summary of the conversation so far:\n"
BEGUN_EARLIER: Final = "(The conversation began earlier; what came before is not kept.)"


def messages_of(entries: Sequence[SessionEntry], mode: History, member: str) -> list[Message]:
    """The session as messages to the member with this instance name, oldest first.

    Users' entries are user messages, the member's own answers assistant messages. With `all`, what was asked of other
    members alone is a user message `[to name]: text`, and what they answered an assistant message `[name]: text`: they are
    answers to the same user, and a model that saw them as the user's would answer them. A summary is a user message with
    a fixed lead-in, because system messages are the program's. Entries of any other role, and entries without text, which
    providers refuse, are left out; bytes that are no text are told by their size and type.

    Messages of one role that follow each other stay apart: a provider that wants them alternating joins them itself.
    Some refuse a conversation that begins with an answer, as one does whose oldest entries were dropped: there a user
    message that says so is put first.
    """
    if mode == "none":
        return []
    made = [message for entry in entries if (message := _message_of(entry, mode, member)) is not None]
    if made and made[0].role is Role.ASSISTANT:
        made.insert(0, Message(role=Role.USER, text=BEGUN_EARLIER))
    return made


def _message_of(entry: SessionEntry, mode: History, member: str) -> Message | None:
    text = _text_of(entry.payload)
    if not text.strip():
        return None
    if entry.role == SUMMARY:
        return Message(role=Role.USER, text=SUMMARY_LEAD_IN + text)
    if entry.role not in {USER, MEMBER}:
        return None
    asked = entry.role == USER
    if entry.member != member and not (asked and not entry.member):
        if mode != "all":
            return None
        text = f"[to {entry.member}]: {text}" if asked else f"[{entry.member}]: {text}"
    return Message(role=Role.USER if asked else Role.ASSISTANT, text=text)


def _text_of(payload: Payload) -> str:
    try:
        return payload.text
    except UnicodeDecodeError:
        return f"({payload.size} bytes of {payload.effective_media_type})"
