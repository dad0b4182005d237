"""The small interfaces that the parts meet at. The engine knows implementations by these alone."""

from motet.ports.agent import Agent, Call, CallHost, Spendable
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
from motet.ports.provider import ChatContext, Hear, Provider
from motet.ports.resident import Resident
from motet.ports.sessions import Conversation, Sessions, Summary
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
    "ChatContext",
    "Claim",
    "Claimed",
    "Conflict",
    "Conversation",
    "Course",
    "End",
    "Guard",
    "GuardsOf",
    "Hear",
    "Observer",
    "Profile",
    "Provider",
    "Refuse",
    "Replayed",
    "Resident",
    "Roster",
    "RuleBook",
    "RunTicket",
    "Scope",
    "Sessions",
    "Spendable",
    "Start",
    "Store",
    "Summary",
    "Tally",
    "Ticket",
    "Wait",
]
