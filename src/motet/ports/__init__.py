"""The small interfaces that the parts meet at. The engine knows implementations by these alone."""

from motet.ports.agent import Agent, Call, CallHost
from motet.ports.aggregation import Aggregator, AggregatorType, Answer, Ask, Roster, RuleBook, Tally
from motet.ports.guard import (
    ADMIT,
    Account,
    Admission,
    Admit,
    Course,
    End,
    Guard,
    GuardsOf,
    Profile,
    Refuse,
    RunTicket,
    Scope,
    Start,
    Ticket,
    Wait,
)
from motet.ports.observer import Observer
from motet.ports.store import Adopted, Busy, Claim, Claimed, Conflict, Replayed, Store

__all__ = [
    "ADMIT",
    "Account",
    "Admission",
    "Admit",
    "Adopted",
    "Agent",
    "Aggregator",
    "AggregatorType",
    "Answer",
    "Ask",
    "Busy",
    "Call",
    "CallHost",
    "Claim",
    "Claimed",
    "Conflict",
    "Course",
    "End",
    "Guard",
    "GuardsOf",
    "Observer",
    "Profile",
    "Refuse",
    "Replayed",
    "Roster",
    "RuleBook",
    "RunTicket",
    "Scope",
    "Start",
    "Store",
    "Tally",
    "Ticket",
    "Wait",
]
