"""The part that one run takes in a session: its turn, what was said before, and what its members said, nested runs
included. Runs without a session, or without a group that preserves it, have none."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import trio

from motet.engine import causes
from motet.engine.resolve import GroupNode, Node, groups_of
from motet.model import reason
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.plan import Member
from motet.model.result import GroupResult
from motet.model.session import MEMBER, SUMMARY, USER, SessionEntry
from motet.ports import Answer, Ask, Conversation, Summary

if TYPE_CHECKING:
    from motet.engine.group import GroupExecution
    from motet.engine.run import RunExecution

STORE_PATIENCE: Final = 30.0
"""Seconds that the store may take to keep what a run has told, before what was said is added to the session."""
SUMMARY_TASK: Final = (
    "Sum up this conversation for those who go on with it. Keep every fact, decision, name and number that later "
    "answers may need, in at most 300 words. `summary` sums up what came before `entries`."
)


def takes_part(session_id: str, node: Node) -> bool:
    return bool(session_id) and any(each.group.preserve_session for each in groups_of(node))


class Talk:
    """What one run says in its session."""

    def __init__(self, run: "RunExecution") -> None:
        self._run = run
        self._conversation: Conversation | None = None
        self._waiting = trio.CancelScope()
        self._entries: list[SessionEntry] = []
        self._asked: Payload | None = None
        """What all members were asked last."""
        self._summary: Summary | None = None
        self._summing = False
        self.failure: Failure | None = None
        """Why what was said is not kept."""

    @property
    def history(self) -> Sequence[SessionEntry]:
        return self._conversation.history if self._conversation is not None else ()

    async def begin(self, deadline: float) -> None:
        """Wait for the turn, at most until the deadline, on trio's clock. Without one the run may start nothing."""
        run = self._run
        self._waiting.deadline = deadline
        with self._waiting:
            around, again = tuple(_runs_around(run)), run.history is not None
            found = await run.engine.sessions.begin(run.tenant, run.session_id, run.run_id, around, again=again)
            if isinstance(found, Failure):
                cause = causes.breached(trio.current_time(), found)
                if again:
                    # What had started must not go on as if nothing had been said.
                    self.failure = Failure(
                        reason.SESSION_NOT_KEPT, f"the run went on without its session: {found.message}"
                    )
                    run.stop(cause)
                run.refusal = cause
            else:
                self._conversation = found

    def stop(self) -> None:
        """Wait no longer."""
        if self._conversation is None:
            self._waiting.cancel()

    def said(self, node: GroupNode, input: Payload, result: GroupResult) -> None:
        """A group has ended: keep what its members were asked and what they answered, in declared order."""
        if self._conversation is not None and node.group.preserve_session:
            entries = list(self._spoken(node, input, result.outcomes))
            if any(entry.role == MEMBER for entry in entries):
                self._entries += entries
                self._asked = input

    def _spoken(self, node: GroupNode, input: Payload, outcomes: Sequence[Outcome]) -> Iterator[SessionEntry]:
        now = datetime.now(UTC)
        name, run_id = node.group.name, self._run.run_id
        if self._asked is None or self._asked != input:
            yield SessionEntry(role=USER, group=name, run_id=run_id, payload=input, at=now)
        for index, outcome in enumerate(outcomes):
            if outcome.output is None:
                continue
            own = node.seats.input(node.seats.spec(index), index, input)
            if own is not input:
                yield SessionEntry(role=USER, member=outcome.member, group=name, run_id=run_id, payload=own, at=now)
            yield SessionEntry(
                role=MEMBER, member=outcome.member, group=name, run_id=run_id, payload=outcome.output, at=now
            )

    async def sum_up(self, group: "GroupExecution", outcomes: Sequence[Outcome]) -> None:
        """Have the session summed up, in the name of a group that ends, when it has grown too long."""
        ask = self._summary_of(group, outcomes)
        if ask is not None:
            await group.asking.ask_beside(ask)

    def _summary_of(self, group: "GroupExecution", outcomes: Sequence[Outcome]) -> Ask | None:
        conversation = self._conversation
        if conversation is None or self._summing or not group.node.group.preserve_session:
            return None
        coming = len(self._entries) + sum(1 for _ in self._spoken(group.node, group.input, outcomes))
        excess = conversation.excess(coming)
        if not excess:
            return None
        self._summing = True
        before = [_shown(entry) for entry in excess if entry.role == SUMMARY]
        document = {
            "instruction": SUMMARY_TASK,
            "summary": before[-1]["text"] if before else "",
            "entries": [_shown(entry) for entry in excess if entry.role != SUMMARY],
        }

        def then(outcomes: Sequence[Outcome]) -> Answer:
            said = outcomes[0].output
            if said is None:
                return Failure(reason.AGENT_FAILED, "the session was not summed up")
            entry = SessionEntry(role=SUMMARY, payload=said, at=datetime.now(UTC))
            self._summary = Summary(entry, len(excess))
            return said

        settings = group.run.engine.sessions.settings
        agent, timeout = settings.summary_agent, settings.summary_timeout
        member = Member(agent, "session_summary", input=Payload.of(document), timeout=timeout)
        return Ask(purpose="session_summary", members=(member,), then=then)

    async def leave(self) -> None:
        """Add what was said, and let the next run have its turn. Shielded and bounded."""
        if self._conversation is None:
            return
        # Of a run that goes on elsewhere, it is said there.
        entries, barrier, late = [] if self._run.left else self._entries, self._run.journal.barrier, False
        if barrier is not None and entries:
            # First that it was said, then what was said: a run that goes on after a crash asks nobody again then.
            with trio.move_on_after(STORE_PATIENCE, shield=True) as patience:
                await barrier()
            late = patience.cancelled_caught
        self.failure = await self._conversation.leave([] if late else entries, None if late else self._summary)
        if late:
            message = f"what was said was not kept: the store took longer than {STORE_PATIENCE:g} s"
            self.failure = Failure(reason.SESSION_NOT_KEPT, message)


def _shown(entry: SessionEntry) -> dict[str, str]:
    payload = entry.payload
    return {
        "role": entry.role,
        "member": entry.member,
        "text": payload.fragment if payload.kind == "data" else payload.text,
    }


def _runs_around(run: "RunExecution") -> Iterator[str]:
    """The runs that wait for this one."""
    attempt = run.caller
    while attempt is not None:
        outer = attempt.member.group.run
        yield outer.run_id
        attempt = outer.caller
