"""What may refuse or delay the start of a run or of a member's attempt, one file for each guard. Guards decide; waiting is
the engine's."""

from motet.guards.attempts import AttemptBudget
from motet.guards.breaker import CircuitBreaker
from motet.guards.budget import Budget
from motet.guards.capacity import Capacity
from motet.guards.depth import Depth
from motet.guards.failure_rate import FailureRate
from motet.guards.feasible import FeasibleDeadline
from motet.guards.members import MaxMembers
from motet.guards.min_successes import MinSuccesses
from motet.guards.quota import TenantQuota
from motet.guards.rate import RateLimit
from motet.guards.scoped import guards_of

__all__ = [
    "AttemptBudget",
    "Budget",
    "Capacity",
    "CircuitBreaker",
    "Depth",
    "FailureRate",
    "FeasibleDeadline",
    "MaxMembers",
    "MinSuccesses",
    "RateLimit",
    "TenantQuota",
    "guards_of",
]
