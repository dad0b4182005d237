"""Three extractors read 200 receipts, and the vote of the three is right more often than any of them.

Usage: demo.py [--in-process]    Over gRPC, from a server that it starts; with the option in this process.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import trio
from generate import Receipt, receipts  # type: ignore[import-not-found] # beside this file, where Python finds it

import motet
import motet_client

CATALOG: Final = Path(__file__).resolve().with_name("catalog.toml")
EXTRACTORS: Final = ("lines", "regex", "layout")
FIELDS: Final = ("merchant", "date", "currency", "total")


def plan(words: Any) -> Any:
    """Each extractor once; then a group for each field, under the catalog's rule for it. `words` is motet or its client."""
    # Nobody is stopped early: to tell how good each extractor is, all have to be heard.
    readings = words.Group("readings", EXTRACTORS, words.Aggregation("combine", early_stop=False))
    fields = [words.Group(field, [words.Member("reading", replicas=len(EXTRACTORS))], field) for field in FIELDS]
    return words.Sequence([readings, words.Parallel(fields)], feed_forward=True)


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server of the catalog, which ends with the block."""
    argv = [sys.executable, "-m", "motet_server.cli", "serve", str(CATALOG), "--address=127.0.0.1:0"]
    with (
        tempfile.TemporaryFile("w+") as log,
        # A session of its own: Ctrl-C is for this program, which then ends the server.
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True) as server,  # noqa: S603 - fixed words
    ):
        try:
            line = server.stdout.readline() if server.stdout else ""
            if not line.startswith("serving on "):
                server.wait()
                log.seek(0)
                raise SystemExit(f"the server did not start: {log.read().strip()}")
            yield line.split()[-1]
        finally:
            server.terminate()


def over_grpc(given: Iterable[Receipt]) -> dict[str, Any]:
    """The result of each receipt's run, by its id."""
    inputs = (motet_client.MapInput(receipt.text, id=receipt.id) for receipt in given)
    with (
        serving() as address,
        motet_client.Client(address) as client,
        client.map(plan(motet_client), inputs, max_in_flight=8) as answers,
    ):
        return {answer.id: answer.result for answer in answers}


async def in_process(given: Iterable[Receipt]) -> dict[str, Any]:
    """The same, with the engine in this process."""

    async def inputs() -> AsyncIterator[motet.MapInput]:  # noqa: ASYNC124, ASYNC900 - the engine takes no other kind, and closes it
        for receipt in given:
            yield motet.MapInput(motet.Payload.of(receipt.text), id=receipt.id)

    catalog = motet.Catalog.load(CATALOG)
    async with motet.open_engine(catalog) as engine, engine.map(plan(motet), inputs(), max_in_flight=8) as answers:
        return {answer.id: answer.result async for answer in answers}


def said(result: Any) -> dict[str, dict[str, Any]]:
    """What each extractor and the vote say of one receipt: name to field to value, None where nothing was found."""
    heard = {o.member: o.output.json() if o.output else {} for o in result["readings"].outcomes}
    answers = {field: result[field].aggregate.json() if result[field].aggregate else {} for field in FIELDS}
    return {**heard, "vote": {field: answer.get("answer", answer.get("median")) for field, answer in answers.items()}}


def right(field: str, value: Any, truth: Any) -> bool:
    """Whether it is the truth: to the cent, and a name however it is written."""
    if value is None or field == "total":
        return value is not None and abs(value - truth) < 0.005
    return " ".join(str(value).split()).casefold() == " ".join(truth.split()).casefold()


def show(given: list[Receipt], results: dict[str, Any]) -> None:
    """The share of receipts that each read right, field by field, and in all four fields at once."""
    checked = [(asdict(receipt.truth), said(results[receipt.id])) for receipt in given]
    print(f"{'':10}" + "".join(f"{head:>10}" for head in (*FIELDS, "mean", "all four")))
    for name in (*EXTRACTORS, "vote"):
        hits = [[right(field, heard[name].get(field), truth[field]) for field in FIELDS] for truth, heard in checked]
        shares = [sum(column) / len(hits) for column in zip(*hits, strict=True)]
        shares += [sum(shares) / len(FIELDS), sum(map(all, hits)) / len(hits)]
        print(f"{name:10}" + "".join(f"{share:>10.1%}" for share in shares))


def main() -> None:
    given = receipts()
    begin = time.monotonic()
    local = sys.argv[1:] == ["--in-process"]
    results = trio.run(in_process, given) if local else over_grpc(given)
    took = time.monotonic() - begin
    print(f"{len(results)} receipts, each read by {len(EXTRACTORS)} extractors, in {took:.1f} s\n")
    show(given, results)


if __name__ == "__main__":
    main()
