"""The nouns that stores keep, as JSON text and back. Knows the model; not where the text is kept, nor how.

What is read equals what was written. Fields at their defaults are left out and unknown ones ignored, so rows of older and
newer versions can be read; names of fields, and the tags here, are therefore never changed. Sequences come back as tuples,
mappings as dicts with JSON values. Reading raises ValueError for text that is none of its noun's, and nothing else.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

from motet.model.event import (
    AttemptEnded,
    AttemptStarted,
    Event,
    GroupEnded,
    GroupStarted,
    MemberEnded,
    MemberProgress,
    MemberStarted,
    RunEnded,
    RunStarted,
)
from motet.model.outcome import Outcome
from motet.model.plan import Group, Parallel, Sequence
from motet.model.result import GroupResult, RunResult
from motet.model.run import RunRecord, RunRequest
from motet.model.session import SessionEntry
from motet.store._codec_forms import Forms, Noun

_TAGS: Final[Mapping[type, str]] = {
    RunStarted: "run_started",
    GroupStarted: "group_started",
    MemberStarted: "member_started",
    AttemptStarted: "attempt_started",
    AttemptEnded: "attempt_ended",
    MemberProgress: "member_progress",
    MemberEnded: "member_ended",
    GroupEnded: "group_ended",
    RunEnded: "run_ended",
    Group: "group",
    Sequence: "sequence",
    Parallel: "parallel",
}
_NAMES: Final[Mapping[str, type]] = {"GroupResult": GroupResult}
"""Names that the model's modules import for type checkers only."""


def encode_event(event: Event) -> str:
    return _write(_EVENT, event)


def decode_event(text: str) -> Event:
    event: Event = _read(_EVENT, text)
    return event


def encode_record(record: RunRecord) -> str:
    """With the result, if it has one."""
    return _write(_RECORD, record)


def decode_record(text: str) -> RunRecord:
    record: RunRecord = _read(_RECORD, text)
    return record


def encode_result(result: RunResult) -> str:
    return _write(_RESULT, result)


def decode_result(text: str) -> RunResult:
    result: RunResult = _read(_RESULT, text)
    return result


def encode_outcome(outcome: Outcome) -> str:
    return _write(_OUTCOME, outcome)


def decode_outcome(text: str) -> Outcome:
    outcome: Outcome = _read(_OUTCOME, text)
    return outcome


def encode_request(request: RunRequest) -> str | None:
    """None when it has no form: agents given as objects, options or metadata that are not JSON values."""
    try:
        return _text(_REQUEST.encode(request), _STRICT)
    except (TypeError, ValueError, RecursionError):
        return None


def decode_request(text: str) -> RunRequest:
    request: RunRequest = _read(_REQUEST, text)
    return request


def encode_entry(entry: SessionEntry) -> str:
    return _write(_ENTRY, entry)


def decode_entry(text: str) -> SessionEntry:
    entry: SessionEntry = _read(_ENTRY, text)
    return entry


def _write(noun: Noun, value: object) -> str:
    try:
        return _text(noun.encode(value), _LENIENT)
    except TypeError as error:
        raise ValueError(f"{type(value).__name__} holds what JSON cannot: {error}") from error
    except RecursionError:
        raise ValueError(f"{type(value).__name__} is nested too deep to be kept") from None


def _read(noun: Noun, text: str) -> Any:
    try:
        value = json.loads(text)
        if isinstance(value, str):
            value = json.loads(b64decode(value, validate=True).decode(errors="surrogatepass"))
        return noun.decode(value)
    except RecursionError:
        raise ValueError("the JSON document is nested too deep") from None


def _text(value: object, encoder: json.JSONEncoder) -> str:
    text = encoder.encode(value)
    try:
        # What is kept must be Unicode, and the JSON escapes of two lone surrogates side by side would be read as one
        # character: a document that has any becomes a JSON string of its bytes.
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        return f'"{b64encode(text.encode(errors="surrogatepass")).decode()}"'
    return text


def _as_text(value: object) -> object:
    """For metadata and details, which agents of a program's own may fill with anything: a record that says a little less
    is better than a run that cannot be kept."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _only_json(value: Any) -> Any:
    """For options, which mean something: what would come back as something else is refused."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_only_json(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _only_json(item) for key, item in value.items()}
    raise ValueError(f"{type(value).__name__} is not a JSON value")


_LENIENT: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), default=_as_text)
_STRICT: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))

_records = Forms(_TAGS, _NAMES, None)
_EVENT: Final = _records.noun(Event)
_RECORD: Final = _records.noun(RunRecord)
_RESULT: Final = _records.noun(RunResult)
_OUTCOME: Final = _records.noun(Outcome)
_ENTRY: Final = _records.noun(SessionEntry)
_REQUEST: Final = Forms(_TAGS, _NAMES, _only_json).noun(RunRequest)
