"""A data analysis in two steps: what a core group found is what the insights are made from. Usage: demo.py [QUESTION]"""

import sys
from dataclasses import dataclass
from pathlib import Path

from sales import correlation, describe, last_year  # type: ignore[import-not-found] # beside this file

import motet

sys.path.append(str(Path(__file__).resolve().parents[1]))
import stage  # type: ignore[import-not-found] # beside the folders

QUESTION = "How did the shop do in 2025, and what should we look at?"
FOUND = "\nThe question: {{ question }}\nWhat the core analysis found:\n{{ core_analysis.merged_text }}"


@dataclass
class Chart:
    """One chart of a dashboard."""

    title: str
    kind: str
    columns: list[str]


validator = motet.ModelAgent(
    "data_validator",
    instructions="You are a data validation specialist. Look at every column; report missing values and outliers.",
    tools=[describe],
)
statistician = motet.ModelAgent(
    "statistical_analyzer",
    instructions="You are a statistical analysis expert. Report trends and correlations, also against last year.",
    tools=[describe, correlation, last_year],
    tool_timeout=stage.patience(15),
)
business = motet.ModelAgent(
    "business_analyst",
    instructions=motet.Template("You are a business intelligence specialist. Recommend what to do." + FOUND),
)
visualization = motet.ModelAgent(
    "visualization_expert",
    instructions=motet.Template("You are a data visualization specialist. Choose at most three charts." + FOUND),
    output_type=list[Chart],
)

core = motet.Group("core_analysis", [validator, statistician], "merge", timeout=stage.patience(90))
insights = motet.Group("business_insights", [business, visualization], "merge", timeout=stage.patience(60))
analysis = motet.as_tool(
    motet.Sequence([core, insights], feed_forward=True, timeout=stage.patience(180)),
    name="comprehensive_data_analysis",
    description="Analyses the sales in two steps: validation and statistics, then business and visualization.",
    input_schema={"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]},
)
orchestrator = motet.ModelAgent(
    "orchestrator",
    instructions="""You coordinate data analysis. Use comprehensive_data_analysis, then write a report of at most six lines
for technical and business readers: key findings, recommendations, and what could not be found out.""",
    tools=[analysis],
    limits=motet.Limits(max_tokens=100_000),
)


async def main() -> None:
    async with motet.open_engine() as engine:
        question = " ".join(sys.argv[1:]) or QUESTION
        await stage.show(engine, motet.Group("analysis", [orchestrator], "first"), question)


if __name__ == "__main__":
    stage.play(main, __file__)
