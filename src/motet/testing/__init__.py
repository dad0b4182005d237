"""Public means of testing: the run-invariant checker and fakes. The contract suites are in modules of their own
(`motet.testing.contracts_agent` and its neighbours), because they need pytest, and these do not."""

from motet.testing.fakes import AskingRule, RecordingHost, ScriptedAgent, make_call
from motet.testing.invariants import check_run

__all__ = ["AskingRule", "RecordingHost", "ScriptedAgent", "check_run", "make_call"]
