"""A translation service: an orchestrator has a group of language specialists as its tool. Usage: demo.py [TEXT]"""

import sys
from collections.abc import Sequence
from pathlib import Path

import motet

sys.path.append(str(Path(__file__).resolve().parents[1]))
import stage  # type: ignore[import-not-found] # beside the folders

TEXT = "Hello, how are you today? I hope you're having a wonderful day!"
LANGUAGES = ("Spanish", "French", "German", "Japanese")


def by_language(outcomes: Sequence[motet.Outcome]) -> dict[str, str]:
    """Every language, also those without a translation: the orchestrator is to know who is missing, and why."""
    return {o.member: o.output.text if o.output else f"no translation ({o.failure})" for o in outcomes}


specialists = motet.Group(
    "language_specialists",
    [
        motet.ModelAgent(
            language.lower(),
            instructions=f"Translate what you are given into {language}. Answer with the translation only.",
            timeout=stage.patience(30),
        )
        for language in LANGUAGES
    ],
    motet.Aggregation("custom", {"function": by_language}),
)

orchestrator = motet.ModelAgent(
    "orchestrator",
    instructions="""You coordinate language specialists.
1. Use translate_to_multiple_languages to get the translations of all of them at once.
2. Present the translations, one a line, with the language before it.
3. Say which language is missing, and explain cultural nuances in one sentence.""",
    tools=[
        motet.as_tool(
            specialists,
            name="translate_to_multiple_languages",
            description="Translates a text into every language of the house. Give it the text alone.",
        )
    ],
    max_turns=3,
)


async def main() -> None:
    text = " ".join(sys.argv[1:]) or TEXT
    async with motet.open_engine() as engine:
        await stage.show(engine, motet.Group("service", [orchestrator], "first"), f"Please translate: {text}")


if __name__ == "__main__":
    stage.play(main, __file__)
