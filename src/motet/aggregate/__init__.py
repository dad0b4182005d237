"""Rules that turn outcomes into one answer, one file for each family. Pure and synchronous."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from motet.aggregate.best import BEST
from motet.aggregate.chain import CHAIN
from motet.aggregate.combine import COMBINE
from motet.aggregate.custom import CUSTOM
from motet.aggregate.ensemble import ENSEMBLE
from motet.aggregate.first import FIRST
from motet.aggregate.majority import MAJORITY
from motet.aggregate.merge import MERGE
from motet.aggregate.rank import RANK
from motet.aggregate.ranked import RANKED_VOTE
from motet.aggregate.summarize import SUMMARIZE
from motet.aggregate.vote import VOTE
from motet.ports import AggregatorType

BUILTIN: Final[Mapping[str, AggregatorType]] = MappingProxyType(
    {
        rule.name: rule
        for rule in (COMBINE, FIRST, MAJORITY, MERGE, SUMMARIZE, CUSTOM, CHAIN, RANK, BEST, ENSEMBLE, VOTE, RANKED_VOTE)
    },
)
"""The rules that every catalog knows, by name."""

__all__ = ["BUILTIN"]
