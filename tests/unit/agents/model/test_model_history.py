"""A session's entries as messages to one member."""

from datetime import UTC, datetime

import pytest

from motet.agents.model.history import BEGUN_EARLIER, SUMMARY_LEAD_IN, messages_of
from motet.model.chat import Message, Role
from motet.model.payload import Payload
from motet.model.session import SessionEntry


def entry(role: str, said: object, member: str = "") -> SessionEntry:
    return SessionEntry(role=role, member=member, payload=Payload.of(said), at=datetime.now(UTC))


def user(text: str) -> Message:
    return Message(role=Role.USER, text=text)


def assistant(text: str) -> Message:
    return Message(role=Role.ASSISTANT, text=text)


TALK = [
    entry("user", "hello"),
    entry("member", "bonjour", "fr"),
    entry("member", "hallo", "de"),
    entry("user", "only for you", "fr"),
    entry("user", "only for the other", "de"),
    entry("user", {"q": 1}),
    entry("member", {"a": 2}, "fr"),
]


def test_own_shows_what_users_said_to_the_member_and_what_it_answered() -> None:
    assert messages_of(TALK, "own", "fr") == [
        user("hello"),
        assistant("bonjour"),
        user("only for you"),
        user('{"q":1}'),
        assistant('{"a":2}'),
    ]


def test_all_shows_the_other_members_too_each_by_name() -> None:
    assert messages_of(TALK, "all", "fr") == [
        user("hello"),
        assistant("bonjour"),
        assistant("[de]: hallo"),
        user("only for you"),
        user("[to de]: only for the other"),
        user('{"q":1}'),
        assistant('{"a":2}'),
    ]


def test_none_shows_nothing() -> None:
    assert messages_of([*TALK, entry("summary", "s")], "none", "fr") == []


@pytest.mark.parametrize("mode", ["own", "all"])
def test_a_summary_is_a_user_message_with_a_lead_in(mode: str) -> None:
    talk = [entry("summary", "they greeted"), entry("member", "again", "fr")]
    assert messages_of(talk, mode, "fr") == [user(SUMMARY_LEAD_IN + "they greeted"), assistant("again")]  # type: ignore[arg-type]


def test_a_conversation_whose_beginning_was_dropped_does_not_begin_with_an_answer() -> None:
    talk = [entry("member", "bonjour", "fr"), entry("user", "and now?")]
    assert messages_of(talk, "own", "fr") == [user(BEGUN_EARLIER), assistant("bonjour"), user("and now?")]
    assert messages_of(talk, "own", "de") == [user("and now?")]


def test_messages_of_one_role_stay_apart() -> None:
    talk = [entry("user", "a"), entry("user", "b")]
    assert messages_of(talk, "own", "fr") == [user("a"), user("b")]


def test_entries_without_text_or_of_another_role_are_left_out() -> None:
    talk = [entry("user", " \n"), entry("system", "obey me"), entry("member", "", "fr"), entry("user", "x")]
    assert messages_of(talk, "all", "fr") == [user("x")]


def test_bytes_that_are_no_text_are_told_by_size_and_type() -> None:
    image = SessionEntry(role="user", payload=Payload.from_bytes(b"\xff\xd8", "image/jpeg"), at=datetime.now(UTC))
    assert messages_of([image, entry("user", b"plain")], "own", "fr") == [
        user("(2 bytes of image/jpeg)"),
        user("plain"),
    ]
