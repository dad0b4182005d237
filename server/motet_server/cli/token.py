"""`motet token new`: makes a token and the table that a server knows it by. Nothing of it is kept here."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from motet_server.auth import BadTokens, Right, new_token, table
from motet_server.cli import exits, jsonform
from motet_server.cli.common import JsonOption
from motet_server.cli.output import say
from motet_server.cli.text import one_line

token = App(name="token", help="Tokens that callers of a server need.")


@token.command
def new(
    name: str,
    /,
    *,
    tenant: str | None = None,
    right: Annotated[
        list[Literal["run", "watch", "work", "admin"]] | None, Parameter(negative="", show_default=False)
    ] = None,
    token_file: Annotated[str | None, Parameter(show_default=False)] = None,
    json: JsonOption = False,
) -> int:
    """Make a token: its table for the file of --tokens is printed, the token itself said on standard error.

    Parameters
    ----------
    name
        Name of the token, for people.
    tenant
        On whose account its runs are.
    right
        What it may do: run, watch, work or admin; may be given more than once. Default: run and watch.
    token_file
        Write the token to this new file, for its owner alone to read, instead of saying it.
    """
    rights = [Right(word) for word in right or ("run", "watch")]
    made = new_token()
    try:
        text = table(name, made, tenant or "", rights)
    except BadTokens as error:
        raise exits.UsageError(one_line(str(error))) from None
    if token_file is not None:
        _write(token_file, made)
    if json:
        secret = {} if token_file is not None else {"token": made}
        sys.stdout.write(jsonform.line({"name": name, **secret, "table": text}))
        return exits.OK
    # Apart, so that what is appended to the file of tokens is the table alone.
    sys.stdout.write(text)
    sys.stdout.flush()
    if token_file is None:
        say(f"the token, shown this once: {made}")
    return exits.OK


def _write(name: str, made: str) -> None:
    try:
        handle = os.open(Path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(made + "\n")
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise exits.UsageError(f"--token-file: cannot write {name!r}: {said}") from None
