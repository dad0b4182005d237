"""Four analysers review code, and a model reads what they found and says what to do first. Usage: demo.py [PATH]"""

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import motet
from motet_server.cli.exits import UsageError

sys.path.append(str(Path(__file__).resolve().parents[1]))
import stage  # type: ignore[import-not-found] # beside the folders

HERE = Path(__file__).resolve().parent
ANALYSERS = HERE.parent / "code_review" / "catalog.toml"


@dataclass
class Finding:
    """Something to put right."""

    line: int
    what: str
    said_by: list[str]


@dataclass
class Review:
    """What the model makes of the findings."""

    verdict: Literal["accept", "accept with changes", "reject"]
    must_fix: list[Finding]
    may_wait: str


lead = motet.ModelAgent(
    "lead",
    instructions="""You are the lead reviewer. You get JSON with the findings of several analysers. Put those together that mean
the same, name the analysers that said so, and tell what must be fixed before a release from what may wait. Add nothing.""",
    model=stage.model("premium"),
    fallbacks=[motet.ModelChoice(None, stage.model("standard"))],
    output_type=Review,
    timeout=stage.patience(120),
)
review = motet.Group(
    "review",
    ["ruff", "mypy", "bandit", "vulture"],
    motet.Aggregation("summarize", {"agent": lead, "max_input_length": 40_000, "fallback": "combine"}),
    timeout=180,
)


def told(result: motet.RunResult) -> str:
    """The review as text; without one what the analysers found."""
    said = result.output.json() if result.output else {}
    if "verdict" not in said:
        return str(stage.answer(result))
    lines = [f"line {f['line']:<4} {f['what']}  [{', '.join(f['said_by'])}]" for f in said["must_fix"]]
    return "\n".join([said["verdict"].upper(), *lines, f"later: {said['may_wait']}"])


def chosen(folder: str) -> str:
    """What is reviewed. The sample lies beside the demo as text, so that nobody's own checks take its mistakes for theirs."""
    if len(sys.argv) == 1:
        return str(shutil.copy(HERE / "checkout.txt", Path(folder, "checkout.py")))
    if not Path(sys.argv[1]).exists():
        raise UsageError(f"there is no file or folder {sys.argv[1]!r}; give the path of Python source")
    return str(Path(sys.argv[1]).absolute())


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = chosen(folder)
        async with motet.open_engine(motet.Catalog.load(ANALYSERS)) as engine:
            await stage.show(engine, review, path, say=told)


if __name__ == "__main__":
    stage.play(main, __file__)
