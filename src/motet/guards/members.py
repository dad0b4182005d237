"""How many members a run may have, with those of the runs that it is nested in. It counts nothing: the run says."""

from motet.model import reason
from motet.model.outcome import Failure
from motet.ports import ADMIT, Admission, Guard, Refuse, RunTicket


class MaxMembers(Guard):
    """Refuses a run that would have more members than its own `max_members`, with reason MEMBERS_EXCEEDED."""

    name = "max_members"

    def may_run(self, run: RunTicket, now: float) -> Admission:  # noqa: ARG002 - members do not depend on time
        if run.members <= run.max_members:
            return ADMIT
        message = f"the run would have {run.members} members, the limit is {run.max_members}"
        details = {"members": run.members, "max_members": run.max_members}
        return Refuse(Failure(reason.MEMBERS_EXCEEDED, message, details))
