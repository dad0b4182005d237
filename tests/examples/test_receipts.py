"""The receipts example: its generator, its extractors, which must truly differ, and the demo as a user runs it."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import trio

import motet

EXAMPLE = Path(__file__).parents[2] / "examples" / "receipts"
FIELDS = ("merchant", "date", "currency", "total")
EXTRACTORS = ("lines", "regex", "layout")


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"receipts_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


generate = _load("generate")
read = {name: _load(f"extract_{name}").read for name in EXTRACTORS}


def _right(field: str, value: Any, truth: Any) -> bool:
    if field == "total":
        return value is not None and abs(value - truth) < 0.005
    return str(value).casefold() == str(truth).casefold()


def _hits(name: str, layout: str | None = None) -> dict[str, int]:
    """Receipts of which the extractor reads each field right."""
    given = [r for r in generate.receipts() if layout in (None, r.layout)]
    return {f: sum(_right(f, read[name](r.text)[f], getattr(r.truth, f)) for r in given) for f in FIELDS}


def test_the_same_seed_makes_the_same_receipts_and_another_seed_makes_others() -> None:
    assert generate.receipts() == generate.receipts()
    assert generate.receipts(seed=1) != generate.receipts(seed=2)


def test_there_are_200_receipts_in_six_layouts_and_no_two_are_alike() -> None:
    made = generate.receipts()
    assert len(made) == len({receipt.text for receipt in made}) == len({receipt.id for receipt in made}) == 200
    assert len({receipt.layout for receipt in made}) == 6


def test_every_receipt_shows_its_total_and_its_merchant() -> None:
    for receipt in generate.receipts():
        cents = f"{receipt.truth.total:.2f}".replace(".", "")
        digits = "".join(sign for sign in receipt.text if sign.isdigit())
        assert cents in digits, receipt
        assert receipt.truth.merchant.casefold() in receipt.text.casefold(), receipt


@pytest.mark.parametrize("name", EXTRACTORS)
def test_an_extractor_answers_for_every_receipt_with_the_four_fields(name: str) -> None:
    for receipt in generate.receipts():
        assert set(read[name](receipt.text)) == set(FIELDS)


def test_every_extractor_errs_on_a_layout_that_another_reads_well() -> None:
    layouts = {receipt.layout for receipt in generate.receipts()}
    sums = {layout: {name: sum(_hits(name, layout).values()) for name in EXTRACTORS} for layout in layouts}
    worst = {min(EXTRACTORS, key=scores.__getitem__) for scores in sums.values()}
    assert worst == set(EXTRACTORS)


def test_no_two_extractors_are_equally_good_and_none_is_perfect_in_any_field() -> None:
    hits = {name: _hits(name) for name in EXTRACTORS}
    assert len({sum(found.values()) for found in hits.values()}) == 3
    assert all(count < 200 for found in hits.values() for count in found.values())


def test_the_catalog_has_no_mistakes() -> None:
    catalog = motet.Catalog.load(EXAMPLE / "catalog.toml")
    catalog.check()
    assert set(EXTRACTORS) <= set(catalog.agents)
    assert set(FIELDS) <= set(catalog.aggregations)


async def test_the_readings_of_one_receipt_come_from_the_group_in_the_catalog() -> None:
    receipt = generate.receipts(1)[0]
    async with motet.open_engine(motet.Catalog.load(EXAMPLE / "catalog.toml")) as engine:
        result = await engine.run("readings", receipt.text)
    assert result.unwrap()["combined_results"] == [read[name](receipt.text) for name in EXTRACTORS]


@pytest.fixture(scope="module")
def printed() -> dict[str, list[float]]:
    """What the demo prints over gRPC: the shares of each line by its name."""
    return _shares(_demo())


def _demo(*words: str) -> str:
    # Of a connection that closes while the server does, the library's own log tells when the machine is slow.
    quiet = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    argv = [sys.executable, str(EXAMPLE / "demo.py"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False, env=quiet)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("200 receipts, each read by 3 extractors, in ")
    return done.stdout


def _shares(output: str) -> dict[str, list[float]]:
    rows = [line.split() for line in output.splitlines()[3:]]
    return {row[0]: [float(share.rstrip("%")) for share in row[1:]] for row in rows}


def test_the_demo_prints_what_each_extractor_reads_right(printed: dict[str, list[float]]) -> None:
    assert list(printed) == [*EXTRACTORS, "vote"]
    for name in EXTRACTORS:
        assert printed[name][:4] == pytest.approx([count / 2 for count in _hits(name).values()])


def test_the_vote_is_right_at_least_as_often_as_the_best_extractor_in_every_field(
    printed: dict[str, list[float]],
) -> None:
    for column in range(4):
        assert printed["vote"][column] >= max(printed[name][column] for name in EXTRACTORS)


def test_the_vote_is_right_more_often_than_any_extractor_over_all(printed: dict[str, list[float]]) -> None:
    for column in (4, 5):
        assert printed["vote"][column] > max(printed[name][column] for name in EXTRACTORS)


def test_the_demo_in_process_prints_the_same_shares_as_over_grpc(printed: dict[str, list[float]]) -> None:
    assert _shares(_demo("--in-process")) == printed


def test_the_readme_shows_what_the_demo_prints(printed: dict[str, list[float]]) -> None:
    shown = (EXAMPLE / "README.md").read_text().split("```text\n")[1].split("```")[0]
    assert _shares(shown) == printed


def test_an_extractor_that_failed_leaves_no_reading_and_its_seat_in_the_vote_fails() -> None:
    [lines, layout] = ({"merchant": name} for name in ("A", "B"))
    reading = _load("reading").reading
    made = {"combined_results": [lines, layout]}
    assert trio.run(reading, made, 2) == layout
    with pytest.raises(IndexError):
        trio.run(reading, made, 3)


def test_the_truth_has_the_fields_that_are_read() -> None:
    assert tuple(asdict(generate.receipts(1)[0].truth)) == FIELDS
