"""The types of values in a catalog file: lengths of time, JSON, money, texts; and what every table has in common. Knows no
table. Imported only when a file is loaded, because it brings pydantic."""

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from motet._duration import parse_duration
from motet.model.checks import MAX_AMOUNT
from motet.model.payload import Payload

_DECIMAL: Final = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")
MAX_NESTING: Final = 100
"""Deepest nesting of a value in a file; nobody writes deeper, and the bound keeps recursion harmless."""


def _length(value: object) -> object:
    """Texts become seconds; numbers stay as they are, and are judged with the rest of the group."""
    return value if isinstance(value, float) or (isinstance(value, int) and value < 0) else parse_duration(value)


def _json_value(value: object, depth: int = 0) -> object:
    if depth > MAX_NESTING:
        raise ValueError("is nested too deep")
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a JSON number")
        return value
    if isinstance(value, list):
        return [_json_value(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item, depth + 1) for key, item in value.items()}
    raise ValueError(f"a {type(value).__name__} has no JSON form; write it as text")


def _payload(value: object) -> object:
    return Payload.of(_json_value(value))


def _json_payload(value: object) -> object:
    return Payload.from_json(_json_value(value))


def _nanos(value: object) -> object:
    """US dollars, as a number or decimal text, in billionths."""
    wrong = 'must be US dollars, 0 or more, as a number or as text such as "0.0021"'
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and _DECIMAL.fullmatch(value)):
        raise ValueError(wrong)
    # The shortest text that gives this float is what was written, as far as a float can tell.
    with localcontext(prec=400):
        dollars = Decimal(str(value))
        if not (dollars.is_finite() and dollars >= 0):
            raise ValueError(wrong)
        if dollars > MAX_AMOUNT // 10**9:
            raise ValueError(f"must be {MAX_AMOUNT // 10**9} or less")
        nanos = dollars.scaleb(9)
        if nanos != nanos.to_integral_value():
            raise ValueError("has more than 9 decimals; billionths of a US dollar are the smallest part")
        return int(nanos)


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character; no program or path can take it")
    return value


Duration = Annotated[float, BeforeValidator(parse_duration)]
Seconds = Annotated[float, BeforeValidator(_length)]
Json = Annotated[Any, AfterValidator(_json_value)]
AsTextPayload = Annotated[str, AfterValidator(_payload)]
AsPayload = Annotated[Any, AfterValidator(_payload)]
AsJsonPayload = Annotated[Any, AfterValidator(_json_payload)]
Dollars = Annotated[Any, AfterValidator(_nanos)]
"""Billionths."""
Text = Annotated[str, AfterValidator(_no_nul)]


class Table(BaseModel):
    """A table of the file."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    def given(self) -> dict[str, Any]:
        """What the table says, without defaults; tables of one noun as that noun."""
        said = {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}
        return {name: value.made() if isinstance(value, NounTable) else value for name, value in said.items()}


class NounTable(Table):
    """A table that says the fields of one noun of the model, under the same names but for `renamed`."""

    noun: ClassVar[Callable[..., Any]]
    renamed: ClassVar[Mapping[str, str]] = {}
    """From keys to fields: what is written in US dollars is kept in billionths."""

    def made(self) -> Any:
        return type(self).noun(**{self.renamed.get(name, name): value for name, value in self.given().items()})
