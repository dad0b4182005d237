"""Public means of testing: the run-invariant checker and fakes. The contract suites are in modules of their own
(`motet.testing.contracts_agent` and its neighbours), because they need pytest, and these do not."""

from motet.testing.fakes import AskingRule, AttemptScript, RecordingHost, ScriptedAgent, make_call
from motet.testing.invariants import check_run

__all__ = ["AskingRule", "AttemptScript", "RecordingHost", "ScriptedAgent", "check_run", "make_call"]
