"""What a clerk of the example answers. Apart from the demo, so that the catalog can name it."""

from dataclasses import dataclass
from typing import Literal


@dataclass
class Sorted:
    """What a receipt is for."""

    category: Literal["travel", "meals", "entertainment", "office", "marketing"]
    why: str
