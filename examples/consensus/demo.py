"""Two models sort receipts, and a third is asked where they differ. Usage: demo.py [RECEIPT...]"""

import sys
from pathlib import Path

from sorting import Sorted  # type: ignore[import-not-found] # beside this file

import motet

sys.path.append(str(Path(__file__).resolve().parents[1]))
import stage  # type: ignore[import-not-found] # beside the folders

RECEIPTS = (
    "Blue Line Taxi, airport to Main Street, 38.50",
    "Cafe Central, 2 lunches with Ms Adeyemi of Norvik Ltd, 46.00",
    "Paper & Co, 40 notebooks with the firm's name for the fair, 212.00",
)


def sorter(name: str) -> motet.ModelAgent:
    return motet.ModelAgent(
        name, instructions="Sort the receipt into a category.", model=stage.model(name), output_type=Sorted
    )


judge = motet.ModelAgent(
    "judge",
    instructions="Two clerks sorted a receipt differently. You get the receipt and their answers: say which is right.",
    model=stage.model("premium"),
    output_type=Sorted,
)
category = motet.Group(
    "category",
    [sorter("first"), sorter("second")],
    motet.Aggregation("vote", {"field": "/category", "ties": "tiebreaker", "tiebreaker": judge}),
    timeout=stage.patience(120),
)


def settled(result: motet.RunResult) -> str:
    """The category, and who settled it."""
    if result.output is None:
        return str(result.failure)
    answer = result.output.json()
    how = "both agree" if answer["votes"][answer["answer"]] > 1 else "one vote only"
    if "tiebreaker" in answer:
        how = "the judge decided" if answer["tiebreaker"]["used"] else "the judge had no answer, so the first stands"
    return f"{answer['answer']}: {how}"


async def main() -> None:
    receipts, sums = sys.argv[1:] or RECEIPTS, motet.Usage()
    table = []
    async with motet.open_engine() as engine:
        for receipt in receipts:
            result = await stage.show(engine, category, receipt, say=settled, times=False)
            sums += result.usage
            table.append(f"{settled(result):36} {receipt}")
    print("\n" + "\n".join(table))
    print(f"in all {sums.calls} calls, {stage.used(sums)}")


if __name__ == "__main__":
    stage.play(main, __file__)
