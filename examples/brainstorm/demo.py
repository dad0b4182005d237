"""A brainstorming team with roles, and a premium model that sums up what those wrote who had something. Usage: demo.py [TOPIC]"""

import sys
from pathlib import Path

import motet

sys.path.append(str(Path(__file__).resolve().parents[1]))
import stage  # type: ignore[import-not-found] # beside the folders

TOPIC = "How could a public library bring back teenagers?"
ROLES = {
    "Creative Thinker": "bold and unusual ideas",
    "Critical Analyst": "what could go wrong, and whom it leaves out",
    "Practical Implementer": "what is feasible within three months",
    "Trend Scout": "what teenagers already do elsewhere",
}

thinker = motet.ModelAgent(
    "thinker",
    instructions=motet.Template.shell(
        "You are member ${member_id} of ${total_members} of a brainstorming team. Your role: ${role}. "
        "Focus on ${focus}. Give three ideas, a line each, and repeat nobody's obvious ones."
    ),
    model=stage.model("standard"),
    limits=motet.Limits(max_tokens=20_000),
)
editor = motet.ModelAgent(
    "editor",
    instructions="""You get JSON: a question and numbered answers of a team. Do what its instruction says, in at most five lines.
Name the member behind each idea, and those who gave no answer.""",
    model=stage.model("premium"),
)
team = motet.Group(
    "team",
    [
        motet.Member(
            thinker,
            replicas=len(ROLES),
            timeout=stage.patience(90),
            overrides=tuple(
                motet.ReplicaOverride(
                    replica=number,
                    variables={"role": motet.Payload.of(role), "focus": motet.Payload.of(focus)},
                )
                for number, (role, focus) in enumerate(ROLES.items(), 1)
            ),
        )
    ],
    motet.Aggregation("summarize", {"agent": editor, "fallback": "merge"}),
    limits=motet.Limits(min_successes=2, max_calls=60),
)


async def main() -> None:
    async with motet.open_engine() as engine:
        result = await stage.show(engine, team, " ".join(sys.argv[1:]) or TOPIC)
    for name, outcome in zip(ROLES, result["team"].outcomes, strict=True):
        print(f"{outcome.member} ({name}): {outcome.failure or stage.used(outcome.usage)}")
    for asked in result["team"].asked:
        print(f"summary: {stage.used(asked.usage)}")


if __name__ == "__main__":
    stage.play(main, __file__)
