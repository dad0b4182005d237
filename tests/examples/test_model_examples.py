"""The examples with models as a user runs them: from their scripts without any network, and from a service on this machine."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import motet
from motet.errors import AgentError
from motet.model.chat import ChatRequest, Message, Role, ToolCall

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NAMES = ("translation", "data_analysis", "customer_service", "brainstorm", "model_review", "consensus")
MODEL_TESTS = ROOT / "tests" / "unit" / "agents" / "model"
sys.path[:0] = [str(MODEL_TESTS), str(MODEL_TESTS.parent)]

from openai_peer import Act, OpenAIPeer, Turn, fail, say  # type: ignore[attr-defined, unused-ignore] # noqa: E402 - found by the line above

STATUS = {"RATE_LIMITED": 429, "PROVIDER_UNAVAILABLE": 503}


def _environment(**own: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "MOTET_"))}
    return {**kept, "MOTET_NO_NETWORK": "1", "PYTHONIOENCODING": "utf-8", **own}


def _demo(name: str, *words: str, **own: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name / "demo.py"), *words],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        env=_environment(**own),
    )


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What each demo prints, without any model."""

    class Printed(dict[str, str]):
        def __missing__(self, name: str) -> str:
            done = _demo(name)
            assert (done.returncode, done.stderr) == (0, "")
            self[name] = done.stdout
            return done.stdout

    return Printed()


def _told(output: str, name: str) -> list[str]:
    """What is told of one member or tool, in order, without the moment."""
    return [found[1] for found in re.finditer(rf"^ +[\d.]+ s +{name} (.*)$", output, re.MULTILINE)]


def _order(output: str, *told: str) -> list[str]:
    """The given lines in the order in which they were printed."""
    places = {each: output.index(each) for each in told}
    return sorted(told, key=places.__getitem__)


# ---------------------------------------------------------------------------------------------------------- from the scripts


def test_the_translations_come_together_and_the_orchestrator_names_who_is_missing(printed: dict[str, str]) -> None:
    output = printed["translation"]
    live, _, answer = output.partition("\n\nSpanish: ")
    for language, text in (("spanish", "Hola"), ("french", "Bonjour"), ("german", "Hallo")):
        assert _told(live, language)[-1].startswith(f"says: {text}")
    assert _told(live, "german")[1].startswith("asks again in")
    assert "RATE_LIMITED" in _told(live, "german")[1]
    assert re.match(r"TIMED_OUT: DEADLINE_EXCEEDED.*STOPPED in ", _told(live, "japanese")[-1])
    assert "Japanese is missing" in answer
    starts = [line for line in live.splitlines() if line.endswith((" starts", " is called"))]
    assert len(starts) == 6
    assert all(f"{language} starts" in "".join(starts[2:]) for language in ("spanish", "french", "german", "japanese"))


def test_what_was_used_and_what_could_not_be_priced_is_told(printed: dict[str, str]) -> None:
    last = printed["translation"].splitlines()[-1]
    assert re.fullmatch(
        r"SUCCEEDED in [\d.]+ s, \d+ calls, [\d,]+\+[\d,]+ tokens, 0\.\d+ USD \+ 1 unpriced call", last
    ), last


def test_the_insights_are_made_from_what_the_core_analysis_found(printed: dict[str, str]) -> None:
    output = printed["data_analysis"]
    steps = (
        "statistical_analyzer says",
        "data_validator says",
        "business_analyst starts",
        "visualization_expert starts",
    )
    assert set(_order(output, *steps)[:2]) == set(steps[:2])
    assert _told(output, "business_analyst")[-1].startswith("says: Correct November first")
    assert output.splitlines()[-1].startswith("SUCCEEDED in ")


def test_a_tool_that_does_not_answer_in_time_and_wrong_arguments_are_told_and_the_analysis_goes_on(
    printed: dict[str, str],
) -> None:
    output = printed["data_analysis"]
    assert _told(output, "last_year")[-1].startswith("TIMED_OUT: DEADLINE_EXCEEDED")
    assert "calls describe: validation_error" in _told(output, "data_validator")
    assert '"missing":["2025-07"]' in "".join(_told(output, "describe_2"))
    assert _told(output, "statistical_analyzer")[-1].startswith("says: Visits and orders correlate at 0.999")
    assert "Not found out: the archive did not answer in time" in output


def test_two_groups_are_asked_in_one_turn_and_the_slower_responder_is_cancelled(printed: dict[str, str]) -> None:
    output = printed["customer_service"]
    called = ("consult_support_specialists is called", "rapid_response is called", "handbook starts")
    assert _order(output, *called)[-1] == called[-1]
    assert _told(output, "handbook")[-1].startswith("says: If the app does not start")
    assert re.match(r"CANCELLED: DECIDED: .*STOPPED in ", _told(output, "forum")[-1])
    assert _told(output, "product_expert")[-1].startswith("FAILED: PROVIDER_REJECTED")
    assert _told(output, "invoice")[-1].startswith('says: {"number":"2025-117"')


def test_the_second_question_goes_on_with_the_conversation_and_is_handed_over(printed: dict[str, str]) -> None:
    first, second = printed["customer_service"].split("answered by coordinator\n")
    assert "hands over" not in first
    assert _told(second, "coordinator")[1] == "hands over to complaints_desk"
    assert _told(second, "coordinator")[-1].startswith("lets complaints_desk say: I have opened ticket T-2041")
    assert second.endswith("answered by complaints_desk\n")


def test_the_summary_is_made_of_the_successes_and_names_who_failed(printed: dict[str, str]) -> None:
    output = printed["brainstorm"]
    assert _told(output, "thinker_2")[-1].startswith("FAILED: PROVIDER_UNAVAILABLE")
    assert "(thinker_2) is missing" in output
    says = [f"thinker_{number} says" for number in (1, 3, 4)]
    assert _order(output, *says, "thinker_2 FAILED", "editor starts")[-1] == "editor starts"
    shares = {
        found[1]: float(found[2]) for found in re.finditer(r"^(\w+).*: .* tokens, ([\d.]+) USD", output, re.MULTILINE)
    }
    assert shares["summary"] > 10 * shares["thinker_1"] > 0
    assert "thinker_2 (Critical Analyst): PROVIDER_UNAVAILABLE" in output


def test_the_model_reads_what_four_analysers_found_and_another_model_takes_over(printed: dict[str, str]) -> None:
    output = printed["model_review"]
    for tool in ("ruff", "mypy", "bandit", "vulture"):
        assert _told(output, tool)[-1].startswith(f'says: [{{"tool":"{tool}"')
        assert _order(output, f"{tool} says", "lead starts")[0] == f"{tool} says"
    assert _told(output, "lead")[1].startswith("asks another model: PROVIDER_REJECTED")
    assert "\nREJECT\nline 16" in output
    assert "[ruff, bandit]" in output


def test_the_lines_that_the_review_names_are_those_that_the_analysers_flagged(tmp_path: Path) -> None:
    sample = tmp_path / "checkout.py"
    sample.write_text((EXAMPLES / "model_review" / "checkout.txt").read_text())
    catalog = motet.Catalog.load(EXAMPLES / "code_review" / "catalog.toml")

    async def review() -> motet.RunResult:
        async with motet.open_engine(catalog) as engine:
            return await engine.run("review", str(sample))

    found = trio.run(review)["review"].aggregate.json()["combined_results"]
    flagged = {(finding["line"], finding["tool"]) for findings in found for finding in findings}
    said = re.search(r'"must_fix": \[(.*?)\n  \]', (EXAMPLES / "model_review" / "script.toml").read_text(), re.DOTALL)[
        1
    ]
    named = re.findall(r'"line": (\d+), .*"said_by": \[(.*?)\]', said)
    assert len(named) == 5
    assert {(int(line), tool) for line, tools in named for tool in re.findall(r"\w+", tools)} <= flagged


def test_the_review_refuses_a_path_that_is_not_there(tmp_path: Path) -> None:
    done = _demo("model_review", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("motet: there is no file or folder")


def test_the_judge_is_asked_only_where_the_two_models_differ(printed: dict[str, str]) -> None:
    taxi, cafe, paper = printed["consensus"].split("\n> ")[1:]
    assert "tiebreaker" not in taxi
    assert "tiebreaker says" in cafe
    assert "tiebreaker" not in paper
    assert _told(paper, "second")[-1].startswith("FAILED: OUTPUT_MISMATCH")
    table = paper.split("\n\n")[-1]
    settled = ["travel: both agree", "entertainment: the judge decided", "marketing: one vote only"]
    assert [re.split(r"  +", line)[0] for line in table.splitlines()[:3]] == settled
    assert table.splitlines()[-1].startswith("in all 15 calls, ")


async def test_the_catalog_of_the_consensus_is_the_same_group_as_in_the_demo(autojump_clock: trio.abc.Clock) -> None:
    catalog = motet.Catalog.load(EXAMPLES / "consensus" / "catalog.toml")
    async with motet.open_engine(catalog) as engine:
        results = [await engine.run("category", text) for text in ("Taxi, 38.50", "Lunch with Norvik, 46.00")]
    assert [result.unwrap()["answer"] for result in results] == ["travel", "entertainment"]
    assert [len(result["category"].asked) for result in results] == [0, 1]


def test_an_interrupted_demo_stops_what_runs_and_says_so() -> None:
    argv = [sys.executable, str(EXAMPLES / "translation" / "demo.py")]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, encoding="utf-8", env=_environment()) as demo:
        for line in demo.stdout:
            if line.endswith("japanese starts\n"):
                break
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=60)
    assert (demo.returncode, err) == (130, "motet: interrupted\n")


def test_a_question_that_the_script_does_not_know_fails_and_says_so() -> None:
    done = _demo("consensus", "Harbour Bank, yearly fee, 80.00")
    assert done.returncode == 1
    assert "SCRIPT_EXHAUSTED" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_readme_shows_lines_that_the_demo_prints(name: str, printed: dict[str, str]) -> None:
    shown = (EXAMPLES / name / "README.md").read_text().split("```text\n")[1].split("```")[0]
    lines = {_bare(line) for line in printed[name].splitlines()}
    assert [line for line in shown.splitlines() if _bare(line) not in lines] == []


def _bare(line: str) -> str:
    """Without what differs from run to run: moments, durations, tokens of a temporary path."""
    line = re.sub(r"\S*checkout\.py.*", "checkout.py", line)
    return re.sub(r" *\d[\d.,]*( (ms|s)\b)?", " N", line).strip()


# ------------------------------------------------------------------------------------------------------ from a real endpoint


def test_a_key_without_a_model_is_a_sentence() -> None:
    done = _demo("translation", OPENAI_API_KEY="not-a-real-key")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "motet: set MOTET_MODEL to the model that is to answer\n"


def _answer(script: motet.ScriptedProvider, turn: Turn) -> Act:
    """What the example's script says to this request, as the service says it; nobody is slow there."""
    request = ChatRequest(model=turn.json["model"], messages=tuple(map(_message, turn.json["messages"])))
    try:
        chosen = script._choose(request)
        assert isinstance(chosen, motet.Say)
        if chosen.error is not None:
            raise chosen.error
    except AgentError as error:
        return fail(STATUS.get(error.reason, 400), str(error), headers={"retry-after-ms": "1"})
    # The archive is left out: with a real model it has a quarter of a minute.
    calls = [call for call in chosen.tool_calls if not isinstance(call, ToolCall) and call[0] != "last_year"]
    return say(chosen.text, calls=calls)


def _message(given: Mapping[str, Any]) -> Message:
    calls: Sequence[Any] = given.get("tool_calls") or ()
    return Message(
        role=Role(given["role"]),
        text=given.get("content") or "",
        tool_calls=tuple(ToolCall(id=call["id"], name=call["function"]["name"]) for call in calls),
    )


@pytest.mark.parametrize("name", NAMES)
async def test_a_demo_runs_unchanged_with_a_service_that_speaks_the_openai_format(name: str) -> None:
    script = motet.ScriptedProvider.load(EXAMPLES / name / "script.toml")
    models = {f"MOTET_MODEL_{part.upper()}": part for part in ("premium", "standard", "first", "second")}

    async with OpenAIPeer() as peer:
        peer.script_by(partial(_answer, script))
        with trio.fail_after(100):
            done = await trio.run_process(
                [sys.executable, "-W", "error", str(EXAMPLES / name / "demo.py")],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=_environment(OPENAI_BASE_URL=peer.url, MOTET_MODEL="standard", **models),
            )
        asked = [turn.json["model"] for turn in peer.turns]
    assert (done.returncode, done.stderr) == (0, b"")
    output = done.stdout.decode()
    assert "scripted" not in output
    assert re.search(r"^SUCCEEDED in ", output, re.MULTILINE)
    assert set(asked) <= {"premium", "standard", "first", "second"}
    assert len(asked) >= 2
    if name == "translation":
        assert _told(output, "japanese")[-1].startswith("says: こんにちは")
    if name == "customer_service":
        second = next(
            turn for turn in peer.turns if turn.json["messages"][-1]["content"].startswith("I want the second")
        )
        roles = [message["role"] for message in second.json["messages"]]
        assert roles == ["system", "user", "assistant", "user"]
