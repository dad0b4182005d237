"""Whether there is time enough left for a call. It knows what calls of the agent usually take, not what they do."""

import math

from motet.model import reason
from motet.model.outcome import Failure
from motet.ports import ADMIT, Admission, Guard, Refuse, Start


class FeasibleDeadline(Guard):
    """Refuses a start that has less time left than the median of its agent's last successful calls took, with reason
    DEADLINE_INFEASIBLE. A start without a deadline, and one of an agent that has not answered yet, is admitted.

    The guard of one group, whose limits ask for it: it answers to nobody else."""

    name = "feasible_deadline"
    inherited = False

    def may_start(self, start: Start, now: float) -> Admission:
        profile = start.ticket.profile
        if profile is None or math.isinf(start.deadline):
            return ADMIT
        usually = profile.quantile(0.5)
        left = start.deadline - now
        if usually is None or left >= usually:
            return ADMIT
        left = max(left, 0.0)
        message = f"{left:g} s were left, and calls of {start.ticket.agent.name} usually take {usually:g} s"
        return Refuse(Failure(reason.DEADLINE_INFEASIBLE, message, {"seconds_left": left, "usually_seconds": usually}))
