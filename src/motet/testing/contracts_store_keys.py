"""What every store promises of what is kept by key: answers of idempotent calls, what tenants have used, sessions. Needs
pytest and pytest-trio."""
# ruff: noqa: S101 - asserting is what a contract suite does

from typing import Any

import pytest
import trio

from motet.model.outcome import Attempt, AttemptKind, Failure, Outcome
from motet.model.payload import Payload
from motet.model.quota_use import QuotaUse
from motet.model.session import SessionEntry
from motet.model.state import State
from motet.model.usage import Usage
from motet.ports import Busy, Claim, Claimed, Conflict, Replayed, Store
from motet.testing.contracts_store_base import STARTED_AT, StoreTests


def make_outcome(output: object = "answer", **own: Any) -> Outcome:
    """How a member ended that succeeded."""
    usage = Usage(calls=1, cost_nanos=7)
    return Outcome(member="m", agent="a", state=State.SUCCEEDED, output=Payload.of(output), ran=1.5, usage=usage, **own)


def make_use(window: str = "hour", start: float = 0.0, **own: Any) -> QuotaUse:
    return QuotaUse(**{"tenant": "t", "window": window, "start": start, **own})


def make_entry(text: str) -> SessionEntry:
    return SessionEntry(role="user", member="m", group="g", run_id="r", payload=Payload.of(text), at=STARTED_AT)


async def claimed(store: Store, key: str, fingerprint: str = "print") -> int:
    """The epoch of a claim that is granted."""
    claim = await store.claim(key, fingerprint)
    assert isinstance(claim, Claimed), claim
    return claim.epoch


class KeyTests(StoreTests):
    """Claims, quotas, sessions."""

    async def test_a_key_is_claimed_once_until_it_is_settled(self) -> None:
        store = await self.make_store()
        epoch = await claimed(store, "k")
        assert await store.claim("k", "print") == Busy()
        assert await store.claim("k", "other") == Conflict()
        await claimed(store, "another key", "other")
        await store.settle("k", epoch, make_outcome(), 60.0)
        assert await store.claim("k", "print") == Replayed(make_outcome())
        assert await store.claim("k", "other") == Conflict()
        await store.aclose()

    async def test_of_many_who_claim_a_key_one_makes_the_call(self) -> None:
        store = await self.make_store()
        claims: list[Claim] = []

        async def claim() -> None:
            claims.append(await store.claim("k", "print"))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(claim)
        assert sum(isinstance(claim, Claimed) for claim in claims) == 1
        assert claims.count(Busy()) == 9
        await store.aclose()

    async def test_a_claim_that_is_cancelled_holds_nothing(self) -> None:
        store = await self.make_store()
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.claim("k", "print")
        assert scope.cancelled_caught
        await claimed(store, "k", "other")
        await store.aclose()

    async def test_an_answer_is_given_again_until_its_time_is_over(self) -> None:
        store = await self.make_store()
        await store.settle("k", await claimed(store, "k"), make_outcome(), 60.0)
        self.advance(59)
        assert await store.claim("k", "print") == Replayed(make_outcome())
        self.advance(2)
        await claimed(store, "k", "other")
        await store.aclose()

    async def test_a_claim_is_not_over_however_long_the_call_takes(self) -> None:
        store = await self.make_store()
        await claimed(store, "k")
        self.advance(10**7)
        assert await store.claim("k", "print") == Busy()
        await store.aclose()

    @pytest.mark.parametrize(("outcome", "ttl"), [(None, 0.0), (None, 60.0), (make_outcome(), 0.0)])
    async def test_a_claim_that_is_given_up_or_kept_for_no_time_is_free(
        self, outcome: Outcome | None, ttl: float
    ) -> None:
        store = await self.make_store()
        await store.settle("k", await claimed(store, "k"), outcome, ttl)
        await claimed(store, "k", "other")
        await store.aclose()

    async def test_what_is_settled_late_has_no_effect(self) -> None:
        store = await self.make_store()
        stale = await claimed(store, "k")
        await store.settle("k", stale, None)
        fresh = await claimed(store, "k")
        await store.settle("k", stale, make_outcome("stale"), 60.0)
        assert await store.claim("k", "print") == Busy()
        await store.settle("k", fresh, make_outcome("fresh"), 60.0)
        await store.settle("k", fresh, None)
        await store.settle("k", stale, make_outcome("stale"), 60.0)
        assert await store.claim("k", "print") == Replayed(make_outcome("fresh"))
        await store.settle("never claimed", 1, make_outcome(), 60.0)
        await claimed(store, "never claimed")
        await store.aclose()

    async def test_answers_are_copies(self) -> None:
        store = await self.make_store()
        metadata: dict[str, Any] = {"list": [1]}
        await store.settle("k", await claimed(store, "k"), make_outcome(metadata=metadata), 60.0)
        metadata["list"].append(2)
        for _ in range(2):
            claim = await store.claim("k", "print")
            assert isinstance(claim, Replayed)
            assert claim.outcome.metadata == {"list": [1]}
            claim.outcome.metadata["list"].append(3)
        await store.aclose()

    async def test_an_outcome_is_given_again_whole(self) -> None:
        store = await self.make_store()
        attempts = tuple(
            Attempt(number=number, kind=AttemptKind.RETRY, state=State.FAILED, failure=Failure("R", "m", {"n": 1}))
            for number in (1, 2)
        )
        outcome = make_outcome(b"\x00\xff", metadata={"a": [None, 1.5]}, attempts=3, attempt_log=attempts)
        await store.settle("k", await claimed(store, "k"), outcome, 60.0)
        assert await store.claim("k", "print") == Replayed(outcome)
        await store.aclose()

    @pytest.mark.usefixtures("reopens")
    async def test_answers_outlive_the_store_and_claims_do_not(self) -> None:
        store = await self.make_store()
        await store.settle("answered", await claimed(store, "answered"), make_outcome(), 60.0)
        stale = await claimed(store, "claimed")
        store = await self.reopen(store)
        assert await store.claim("answered", "print") == Replayed(make_outcome())
        assert await claimed(store, "claimed", "other") != stale
        await store.settle("claimed", stale, make_outcome(), 60.0)
        assert await store.claim("claimed", "other") == Busy()
        await store.aclose()

    @pytest.mark.usefixtures("shares")
    async def test_a_key_is_claimed_once_by_all_who_share_the_store(self) -> None:
        store = await self.make_store()
        other = await self.second(store)
        epoch = await claimed(store, "k")
        assert await other.claim("k", "print") == Busy()
        assert await other.claim("k", "other") == Conflict()
        await other.settle("k", epoch, make_outcome("foreign"), 60.0)
        assert await store.claim("k", "print") == Busy(), "the claim is not that of the other"
        await store.settle("k", epoch, make_outcome(), 60.0)
        assert await other.claim("k", "print") == Replayed(make_outcome())
        await claimed(other, "left")
        await other.aclose()
        await claimed(store, "left")
        await store.aclose()

    async def test_what_a_tenant_uses_adds_up_by_window_and_start(self) -> None:
        store = await self.make_store()
        day = self.clock() // 86400 * 86400
        uses = [
            make_use("hour", day, calls=1),
            make_use("day", day, tokens=2),
            make_use("total", 0.0, cost_nanos=10**15),
        ]
        assert list(await store.use(uses)) == uses
        other = make_use("hour", day, tenant="other", calls=9)
        more = make_use("hour", day, calls=2, tokens=3, cost_nanos=4, seconds=1.5)
        total = make_use("hour", day, calls=3, tokens=3, cost_nanos=4, seconds=1.5)
        assert list(await store.use([other, more])) == [other, total]
        nothing = [make_use("total"), make_use("day", day), make_use("day", day, tenant="new")]
        assert list(await store.use(nothing)) == [uses[2], uses[1], nothing[2]]
        assert list(await store.use([])) == []
        await store.aclose()

    async def test_time_that_a_tenant_uses_adds_up_to_the_nanosecond(self) -> None:
        store = await self.make_store()
        for _ in range(9):
            await store.use([make_use("total", seconds=0.1)])
        assert list(await store.use([make_use("total", seconds=0.1)])) == [make_use("total", seconds=1.0)]
        await store.use([make_use("total", seconds=2_000_000.0)])
        (total,) = await store.use([make_use("total", seconds=1e-9)])
        assert total.seconds == 2_000_001.000000001
        await store.aclose()

    async def test_windows_before_the_last_two_are_forgotten_and_totals_are_not(self) -> None:
        store = await self.make_store()
        first = self.clock() // 86400 * 86400
        starts = [first, first + 3600, first + 7200]
        await store.use([make_use("total", calls=1), make_use("day", first, calls=1)])
        for start in starts:
            await store.use([make_use("hour", start, calls=1)])
            self.advance(3600)
        kept = await store.use([make_use("hour", start) for start in starts])
        assert [use.calls for use in kept] == [0, 1, 1]
        kept = await store.use([make_use("total"), make_use("day", first)])
        assert [use.calls for use in kept] == [1, 1]
        await store.aclose()

    @pytest.mark.usefixtures("shares")
    async def test_what_all_who_share_the_store_use_adds_up(self) -> None:
        store = await self.make_store()
        other = await self.second(store)
        async with trio.open_nursery() as nursery:
            for user in (store, other) * 10:
                nursery.start_soon(user.use, [make_use("total", calls=1, tokens=2)])
        assert list(await store.use([make_use("total")])) == [make_use("total", calls=20, tokens=40)]
        await other.aclose()
        await store.aclose()

    async def test_a_session_keeps_its_last_entries_in_order(self) -> None:
        store = await self.make_store()
        entries = [make_entry(f"{number}") for number in range(5)]
        assert list(await store.session("s")) == []
        await store.remember("s", entries[:2], 10)
        await store.remember("other", entries[4:], 10)
        await store.remember("s", entries[2:3], 10)
        assert list(await store.session("s")) == entries[:3]
        await store.remember("s", entries[3:], 2)
        assert list(await store.session("s")) == entries[3:]
        await store.remember("s", entries, 3)
        assert list(await store.session("s")) == entries[2:]
        assert list(await store.session("other")) == entries[4:]
        await store.aclose()

    async def test_a_session_that_is_forgotten_starts_anew(self) -> None:
        store = await self.make_store()
        await store.remember("s", [make_entry("old")], 10)
        await store.forget_session("s")
        await store.forget_session("never was")
        assert list(await store.session("s")) == []
        await store.remember("s", [make_entry("new")], 10)
        assert list(await store.session("s")) == [make_entry("new")]
        await store.aclose()

    @pytest.mark.usefixtures("reopens")
    async def test_uses_and_sessions_outlive_the_store(self) -> None:
        store = await self.make_store()
        use = make_use("total", calls=1, tokens=2, cost_nanos=3, seconds=4.5)
        await store.use([use])
        await store.remember("s", [make_entry("a"), make_entry("b")], 10)
        store = await self.reopen(store)
        assert list(await store.use([make_use("total")])) == [use]
        assert list(await store.session("s")) == [make_entry("a"), make_entry("b")]
        await store.aclose()
