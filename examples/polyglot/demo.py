"""Workers in four languages vote on the day of the week of a date, and one of them is killed at work.

Usage: demo.py [DATE] [--kill NAME | --kill nobody] [--installed]
"""

import argparse
import sys
from functools import partial

import trio
from members import MEMBERS, ready  # type: ignore[import-not-found] # beside this file

import motet
import motet_server
from motet.agents.remote import RemoteAgent

COMING = 30.0
"""Seconds that a worker may take to dial in."""


def make_group(victim: str) -> motet.Group:
    """The victim is given so long a pause that it is at work when it is killed."""
    members = [
        motet.Member(name, variables={"pause": motet.Payload.of(60 if name == victim else 0.3)}) for name in MEMBERS
    ]
    return motet.Group("weekday", members, motet.Aggregation("vote", early_stop=False), timeout=30)


async def vote(engine: motet.Engine, date: str, victim: str, workers: dict[str, trio.Process]) -> motet.RunResult:
    async with engine.stream(make_group(victim), date) as run:
        async for event in run:
            match event.detail:
                case motet.MemberProgress(report):
                    print(f"{event.elapsed:6.2f} s  {event.member:10} {report.text}")
                    if event.member == victim:
                        workers[victim].kill()
                        print(f"{event.elapsed:6.2f} s  {victim:10} is killed")
                case motet.MemberEnded(outcome):
                    said = outcome.output.text if outcome.output is not None else str(outcome.failure)
                    print(f"{event.elapsed:6.2f} s  {event.member:10} {outcome.state}: {said}")
    if run.result is None:
        raise RuntimeError("a stream that was read to its end has a result")
    return run.result


async def main(date: str, kill: str | None, *, installed: bool) -> int:
    commands, missing = await trio.to_thread.run_sync(partial(ready, installed=installed))
    print("\n".join([f"workers: {', '.join(commands)}", *(f"missing: {why}" for why in missing)]))
    victim = kill or (list(commands)[-1] if len(commands) > 1 else "nobody")
    catalog = motet.Catalog()
    catalog.add(*(RemoteAgent(name, queue_timeout=1) for name in MEMBERS))
    async with (
        motet.open_engine(catalog) as engine,
        motet_server.serve(engine, "127.0.0.1:0") as server,
        trio.open_nursery() as nursery,
    ):
        workers = {}
        for name, command in commands.items():
            start = partial(trio.run_process, [*command, server.address], check=False)
            workers[name] = await nursery.start(start)
        with trio.fail_after(COMING):  # noqa: ASYNC912 - it may have come already
            while len(server.workers.connected) < len(commands):  # noqa: ASYNC110 - the server has no event for it
                await trio.sleep(0.05)
        result = await vote(engine, date, victim, workers)
        nursery.cancel_scope.cancel()
    if result.output is None:
        print(f"no answer: {result.failure}")
        return 1
    answer = result.output.json()
    voted = answer["votes"][answer["answer"]]
    print(f"{date} is a {answer['answer']}, say {voted} of {answer['total_agents']}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("date", nargs="?", default="2026-11-20")
    parser.add_argument("--kill", choices=[*MEMBERS, "nobody"], help="default: the last that this machine can start")
    parser.add_argument("--installed", action="store_true", help="ask no package registry")
    given = parser.parse_args()
    sys.exit(trio.run(partial(main, given.date, given.kill, installed=given.installed)))
