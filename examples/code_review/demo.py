"""Four analysers review one source tree at once: starts a Motet server, asks it over gRPC and shows the review live.

Usage: demo.py [PATH]    PATH is a Python file or folder; without it, Motet's own source.
"""

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import trio
from findings import Place, alike, merge

from motet_client.trio import Client
from motet_server.cli import summary
from motet_server.cli.exits import UsageError
from motet_server.cli.failures import guarded
from motet_server.cli.follow import SIGNALS, choose_renderer, follow
from motet_server.cli.output import Output
from motet_server.cli.run import own_request_id, remote_stop
from motet_server.cli.text import count, cut, one_line, seconds

HERE = Path(__file__).resolve().parent
SHOWN = 40
"""Places printed: what a person reads in one sitting."""
EACH = 2
"""Places printed in full of those that are flagged for the same reasons."""


@asynccontextmanager
async def serving(log_folder: Path) -> AsyncIterator[str]:
    """The address of a server of this folder's catalog, which is ended with the block, whatever happens in it."""
    argv = [sys.executable, "-m", "motet_server.cli", "serve", str(HERE / "catalog.toml"), "--address=127.0.0.1:0"]
    log = log_folder / "server.log"
    with log.open("wb") as stderr:
        # A session of its own: Ctrl-C is for this program, which stops the review and then the server.
        process = await trio.lowlevel.open_process(
            [*argv, "--grace=5s"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        yield await _address(process, log)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 15):
            process.terminate()
            await process.wait()
        if process.returncode is None:
            process.kill()


async def _address(process: trio.Process, log: Path) -> str:
    said = b""
    with trio.move_on_after(60):
        async for more in cast("trio.abc.ReceiveStream", process.stdout):
            said += more
            if said.endswith(b"\n"):
                return said.decode().split()[-1]
    raise UsageError(f"the server did not start: {(await trio.Path(log).read_text()).strip()}")


async def review(path: Path) -> int:
    """Ask for the review, show it, and print what was found."""
    renderer = choose_renderer(json=False, whole=False)
    with tempfile.TemporaryDirectory() as folder, trio.open_signal_receiver(*SIGNALS) as signals:
        async with (
            serving(Path(folder)) as address,
            Client(address) as client,
            client.stream("review", str(path), request_id=own_request_id()) as stream,
        ):
            followed = await follow(stream, renderer, signals, remote_stop(client, stream, renderer))
    if followed.result is not None:
        await show(followed.result, renderer.output)
    return followed.exit_code


async def show(result: Any, output: Output) -> None:
    """The places, those that several analysers flag first; then how each analyser did, and how long all took."""
    group = result["review"]
    ended = [outcome.member for outcome in group.outcomes if outcome.output is not None]
    places = merge(group.aggregate.json()["combined_results"] if group.aggregate is not None else [])
    output.write("\n" + "".join(line + "\n" for line in report(places, ended, len(group.outcomes))))
    output.write(summary.outcomes(result, terminal=output.is_terminal))
    if result.elapsed and result.stats.ran:
        shorter = 1 - result.elapsed / result.stats.ran
        both = f"{seconds(result.elapsed)} at once, {seconds(result.stats.ran)} one after another"
        output.write(f"\n{both}: {max(0.0, shorter):.0%} shorter\n")
    await output.flush()


def report(places: Sequence[Place], ended: Sequence[str], asked: int) -> Iterator[str]:
    """Lines for the places found by the analysers that ended well."""
    if not places:
        yield "clean: nothing found" if len(ended) == asked else f"nothing found by {', '.join(ended) or 'anybody'}"
        return
    shared = sum(len(place.tools) > 1 for place in places)
    yield f"{count(shared, 'place')} flagged by more than one analyser, {len(places) - shared:,} by one"
    kinds = [(kind[:EACH], kind[EACH:]) for kind in alike(places)]
    for shown, rest in kinds[: SHOWN // EACH]:
        for place in shown:
            yield f"{one_line(_short(place.path))}:{place.line}  {' + '.join(place.tools)}"
            for finding in place.findings:
                yield f"    {finding['tool']:8}{cut(finding['code'], 20):18}{cut(finding['message'], 100)}"
        if rest:
            yield f"    and {count(len(rest), 'more place')} like it, next {one_line(_short(rest[0].path))}:{rest[0].line}"
    if left := sum(len(shown) + len(rest) for shown, rest in kinds[SHOWN // EACH :]):
        yield f"... and {count(left, 'place')} of other kinds"


def _short(path: str) -> str:
    return str(Path(path).relative_to(Path.cwd())) if Path(path).is_relative_to(Path.cwd()) else path


def main() -> int:
    if len(sys.argv) > 2:
        raise UsageError("give one PATH")
    path = Path(sys.argv[1] if len(sys.argv) == 2 else HERE.parents[1] / "src").absolute()
    if not path.exists():
        raise UsageError(f"there is no file or folder {str(path)!r}; give the path of Python source")
    return trio.run(review, path)


if __name__ == "__main__":
    sys.exit(guarded(main))
