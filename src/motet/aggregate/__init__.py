"""Rules that turn outcomes into one answer, one file for each family. Pure and synchronous."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from motet.aggregate.combine import COMBINE
from motet.aggregate.first import FIRST
from motet.aggregate.majority import MAJORITY
from motet.ports import AggregatorType

BUILTIN: Final[Mapping[str, AggregatorType]] = MappingProxyType(
    {rule.name: rule for rule in (COMBINE, FIRST, MAJORITY)},
)
"""The rules that every catalog knows, by name."""

__all__ = ["BUILTIN"]
