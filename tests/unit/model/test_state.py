"""The table of states, which the code, the docs and the store read."""

import pytest

from motet.model.state import ENDS, TRANSITIONS, State


def reachable(start: State) -> set[State]:
    found, todo = {start}, [start]
    while todo:
        for state in TRANSITIONS[todo.pop()] - found:
            found.add(state)
            todo.append(state)
    return found


def test_the_table_knows_every_state() -> None:
    assert set(TRANSITIONS) == set(State)


def test_every_state_is_reached_from_the_first() -> None:
    assert reachable(State.QUEUED) == set(State)


def test_ends_and_only_ends_have_no_moves() -> None:
    assert {state for state in State if not TRANSITIONS[state]} == ENDS
    assert {state for state in State if state.ended} == ENDS


def test_every_state_leads_to_an_end() -> None:
    assert all(reachable(state) & ENDS for state in State)


def test_no_state_is_reached_twice() -> None:
    assert all(state not in reachable(after) for state in State for after in TRANSITIONS[state])


def test_what_was_skipped_never_ran_and_what_ran_is_never_skipped() -> None:
    assert State.SKIPPED in TRANSITIONS[State.QUEUED]
    assert State.SKIPPED not in reachable(State.RUNNING)


@pytest.mark.parametrize("state", State)
def test_a_state_is_its_own_name(state: State) -> None:
    assert str(state) == state.value == state.name
