"""The commands by name, and the one place where an error becomes a sentence and an exit code."""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from motet_server.cli import bench, catalogs, exits, limits, run, runs, serve, show, token
from motet_server.cli.failures import complain, guarded
from motet_server.cli.text import one_line


def version() -> int:
    """Print the version."""
    from importlib.metadata import version as of  # noqa: PLC0415  # slow, and nothing else needs it

    sys.stdout.write(f"motet {of('motet')}\n")
    return exits.OK


def make_app() -> App:
    """The command line program."""
    app = App(
        name="motet",
        help="Run a group of agents together and combine what they say.",
        backend="trio",
        version_flags=[],
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
    )
    work = (serve.serve, run.run, runs.watch, runs.runs, show.show, runs.cancel, limits.limits, bench.bench)
    for command in (*work, catalogs.agents, catalogs.groups, catalogs.check, version):
        app.command(command)
    app.command(token.token)
    return app


def execute(words: Sequence[str]) -> int:
    """Run one command line. Returns the exit code; errors are on standard error, a sentence each."""
    try:
        return guarded(lambda: make_app()(_stdin_last(list(words))))
    except CycloptsError as error:
        return complain([one_line(str(error)), "see motet --help"], exits.USAGE)


def _stdin_last(words: list[str]) -> list[str]:
    """A `-` that stands for standard input, put behind `--`: elsewhere it would be read as an option without a name."""
    if "--" in words:
        return words
    for place, word in enumerate(words):
        if word == "-" and words[place - 1] != "--input-file":
            return [*words[:place], *words[place + 1 :], "--", "-"]
    return words
