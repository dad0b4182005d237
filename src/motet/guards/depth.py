"""How deep runs may be nested in one another, so that a recursion ends. It counts nothing: the run says how deep it is."""

from motet.model import reason
from motet.model.outcome import Failure
from motet.ports import ADMIT, Admission, Guard, Refuse, RunTicket


class Depth(Guard):
    """Refuses a run that is nested deeper than its own `max_depth`, with reason DEPTH_EXCEEDED."""

    name = "depth"

    def may_run(self, run: RunTicket, now: float) -> Admission:  # noqa: ARG002 - depth does not depend on time
        if run.depth <= run.max_depth:
            return ADMIT
        message = f"runs are nested {run.depth} deep, the limit is {run.max_depth}; break the recursion"
        return Refuse(Failure(reason.DEPTH_EXCEEDED, message, {"depth": run.depth, "max_depth": run.max_depth}))
