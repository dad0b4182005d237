"""Each mistake that a catalog file can hold, with the table, the key and the sentence it gets."""

from pathlib import Path

import pytest

from motet._catalog_file import load_tables
from motet.catalog import Catalog
from motet.errors import CatalogError

COMMAND = '[agents.a]\nkind = "command"\nargv = ["true"]\n'
HTTP = '[agents.a]\nkind = "http"\nurl = "http://127.0.0.1/"\n'
REMOTE = '[agents.a]\nkind = "remote"\n'
FUNCTION = '[agents.a]\nkind = "function"\nfunction = "json:dumps"\n'
AGENT = '[agents.ok]\nkind = "http"\nurl = "http://127.0.0.1/"\n'
GROUP = '[agents.ok]\nkind = "http"\nurl = "http://127.0.0.1/"\n[groups.g]\nmembers = ["ok"]\n'
MEMBER = '[agents.ok]\nkind = "http"\nurl = "http://127.0.0.1/"\n[[groups.g.members]]\nagent = "ok"\n'
NOT_A_LENGTH = 'is not a length of time; give seconds, or text such as "500ms", "2s", "1m30s" or "1h"'
SECONDS = "must be a finite number of seconds, 0 or more; leave it out to have no bound"
NOT_DOLLARS = 'must be US dollars, 0 or more, as a number or as text such as "0.0021"'


def mistakes(folder: Path, text: str) -> list[tuple[str, str, str]]:
    path = folder / "c.toml"
    path.write_text(text)
    with pytest.raises(CatalogError) as caught:
        Catalog.load(path)
    return [(problem.table, problem.key, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "table", "key", "message"),
    [
        ("[engin]", "", "engin", "is not a known key; did you mean 'engine'?"),
        ("zzz = 1", "", "zzz", "is not a known key; known are agents, aggregations, engine, functions, groups, limits, mcp, providers, sessions, tenants"),
        ("engine = 1", "engine", "", "must be a table"),
        ("[engine]\nmax_parallel = 0", "engine", "max_parallel", "must be 1 or more, not 0"),
        ('[engine]\nmax_members = "2"', "engine", "max_members", "must be a whole number"),
        ("[engine]\nstop_grace = -1", "engine", "stop_grace", SECONDS),
        ("[engine]\nstop_grace = []", "engine", "stop_grace", NOT_A_LENGTH),
        ("[providers.p]\nmax_parallel = 0", "providers.p", "max_parallel", "must be 1 or more, not 0"),
        ("[providers]\np = 3", "providers.p", "", "must be a table"),
        ("[agents]\na = 3", "agents.a", "", "must be a table"),
        ("[agents.a]", "agents.a", "kind", "is missing; give one of function, command, http, model, mcp, remote, group"),
        ("[agents.a]\nkind = 1", "agents.a", "kind", "must be one of function, command, http, model, mcp, remote, group"),
        (
            '[agents.a]\nkind = "comand"',
            "agents.a",
            "kind",
            "must be one of function, command, http, model, mcp, remote, group; did you mean 'command'?",
        ),
        (REMOTE + "queue_timeout = -1", "agents.a", "queue_timeout", "-1 is not a length of time; it must be 0 or more"),
        (REMOTE + "worker_labels = { gpu = 1 }", "agents.a", "worker_labels.gpu", "must be text"),
        (REMOTE + 'queue_time = "1s"', "agents.a", "queue_time", "is not a known key; did you mean 'queue_timeout'?"),
        (COMMAND + 'timeuot = "1s"', "agents.a", "timeuot", "is not a known key; did you mean 'timeout'?"),
        (COMMAND + 'timeout = "soon"', "agents.a", "timeout", "'soon' " + NOT_A_LENGTH),
        (COMMAND + "timeout = -1", "agents.a", "timeout", "-1 is not a length of time; it must be 0 or more"),
        (COMMAND + "max_parallel = 0", "agents.a", "max_parallel", "must be 1 or more"),
        (COMMAND + "max_parallel = true", "agents.a", "max_parallel", "must be a whole number"),
        (COMMAND + 'input = "std"', "agents.a", "input", "must be 'stdin', 'argument' or 'none'"),
        (COMMAND + "replay_safe = 1", "agents.a", "replay_safe", "must be true or false"),
        (COMMAND + "description = 1", "agents.a", "description", "must be text"),
        (COMMAND + "labels = { a = 1 }", "agents.a", "labels.a", "must be text"),
        (COMMAND + "env = 3", "agents.a", "env", "must be a table"),
        (COMMAND + 'inherit_env = "PATH"', "agents.a", "inherit_env", "must be a list"),
        (COMMAND + "ok_exit_codes = [0, 256]", "agents.a", "ok_exit_codes[1]", "must be 255 or less"),
        (COMMAND + 'provider = "locl"', "agents.a", "provider", "there is no provider 'locl'"),
        (COMMAND + 'env = { A = "${env:MOTET_UNSET}" }', "agents.a", "env.A", "the environment variable MOTET_UNSET is not set"),
        (COMMAND + 'cwd = "${env:HOME}"', "agents.a", "cwd", "${env:NAME} is replaced in headers and env only; write the value itself here"),
        (COMMAND + 'parse = "parse"', "agents.a", "parse", "'parse' is not an import string; write module:attribute or file.py:attribute"),
        (COMMAND + 'parse = "json:__name__"', "agents.a", "parse", "'json:__name__' names a str; it must name a function"),
        ('[agents.a]\nkind = "command"\nargv = []', "agents.a", "argv", "give the program and its arguments as a list with at least one element"),
        (COMMAND + 'input = "argument"', "agents.a", "argv", "with input='argument' one element must contain {input}"),
        (HTTP + "estimated_cost = -0.1", "agents.a", "estimated_cost", NOT_DOLLARS),
        (HTTP + "estimated_cost = true", "agents.a", "estimated_cost", NOT_DOLLARS),
        (HTTP + "estimated_cost = nan", "agents.a", "estimated_cost", NOT_DOLLARS),
        (HTTP + "estimated_cost = [1]", "agents.a", "estimated_cost", NOT_DOLLARS),
        (HTTP + 'estimated_cost = "1e-3"', "agents.a", "estimated_cost", NOT_DOLLARS),
        (HTTP + "estimated_cost = 1e300", "agents.a", "estimated_cost", "must be 9223372036 or less"),
        (HTTP + 'estimated_cost = "0.0000000001"', "agents.a", "estimated_cost", "has more than 9 decimals; billionths of a US dollar are the smallest part"),
        (HTTP + "estimated_cost = 1e-10", "agents.a", "estimated_cost", "has more than 9 decimals; billionths of a US dollar are the smallest part"),
        (HTTP + "headers = { a = 1 }", "agents.a", "headers.a", "must be text"),
        (HTTP + 'headers = { a = "${env:}" }', "agents.a", "headers.a", "holds ${env:...} without the name of a variable; write ${env:NAME}"),
        (HTTP + "connect_timeout = 0", "agents.a", "connect_timeout", "must be a number of seconds above 0"),
        (HTTP + "ok_statuses = [1.5]", "agents.a", "ok_statuses", 'must be a status such as 204, a class such as "2xx", or a list of them'),
        (FUNCTION + "memory_bytes = 1", "agents.a", "memory_bytes", "needs isolation='process': a thread cannot be bounded"),
        (FUNCTION + "argv = []", "agents.a", "argv", "is not a known key; known are breaker, cpu_seconds, description, estimated_cost, estimated_tokens, function, isolation, kind, labels, max_parallel, memory_bytes, provider, rate, replay_safe, stop_grace, timeout, version, weight"),
        ('[agents.a]\nkind = "group"\ngroup = "x"', "agents.a", "group", "there is no group 'x'"),
        ('[agents."a b"]\nkind = "http"\nurl = "http://h/"', "agents.a b", "", "is not a name; use letters, digits, _ . : and -, at most 128, not starting with . : or -"),
        ("[groups.g]", "groups.g", "members", "is missing"),
        ("[groups.g]\nmembers = []", "groups.g", "members", "is empty; a group has at least one member"),
        (AGENT + '[groups.g]\nmembers = { agent = "ok", replicas = 0 }', "groups.g", "members[0].replicas", "must be 1 or more, not 0"),
        ('[groups.g]\nmembers = "a"', "groups.g", "members", "must be a list"),
        ("[groups.g]\nmembers = [1]", "groups.g", "members[0]", "must be the name of an agent, or a table"),
        ("[groups.g]\nmembers = [{}]", "groups.g", "members[0].agent", "is missing"),
        ('[groups.g]\nmembers = ["a"]', "groups.g", "members[0]", "there is no agent 'a'"),
        (GROUP + "timeout = -1", "groups.g", "timeout", SECONDS),
        (GROUP + "timeout = nan", "groups.g", "timeout", SECONDS),
        (GROUP + 'timeout = "-1s"', "groups.g", "timeout", "'-1s' " + NOT_A_LENGTH),
        (GROUP + "max_parallel = 0", "groups.g", "max_parallel", "must be 1 or more, not 0"),
        (GROUP + 'aggregation = "majorty"', "groups.g", "aggregation", "there is no aggregation 'majorty'; did you mean 'majority'?"),
        (GROUP + 'aggregation = { name = "first", k = 1 }', "groups.g", "aggregation", "first takes no options; remove k"),
        (GROUP + "aggregation = { early_stop = false }", "groups.g", "aggregation.name", "is missing"),
        (GROUP + "aggregation = 3", "groups.g", "aggregation", "must be a table"),
        (GROUP + 'aggregation = { name = "first", k = 1979-05-27 }', "groups.g", "aggregation.k", "a date has no JSON form; write it as text"),
        (GROUP + "metadata = { at = 1979-05-27 }", "groups.g", "metadata.at", "a date has no JSON form; write it as text"),
        (GROUP + "metadata = { at = inf }", "groups.g", "metadata.at", "inf is not a JSON number"),
        (GROUP + "limits = { max_members = 0 }", "groups.g", "limits.max_members", "must be 1 or more, not 0"),
        (GROUP + "limits = { max_dept = 0 }", "groups.g", "limits.max_dept", "is not a known key; did you mean 'max_depth'?"),
        (MEMBER + "wieght = 1", "groups.g", "members[0].wieght", "is not a known key; did you mean 'weight'?"),
        (MEMBER + "weight = -1", "groups.g", "members[0].weight", "must be a finite number, 0 or more"),
        (MEMBER + "weight = 0", "groups.g", "members", "the weights sum to 0; give at least one member a weight above 0"),
        (MEMBER + "replicas = 0", "groups.g", "members[0].replicas", "must be 1 or more, not 0"),
        (MEMBER + "overrides = [{ replica = 1 }]", "groups.g", "members[0].overrides", "needs replicas: without them there is no replica to change"),
        (MEMBER + "replicas = 2\noverrides = [{ replica = 3 }]", "groups.g", "members[0].overrides[0].replica", "must be 2 or less"),
        (MEMBER + "replicas = 2\noverrides = [{}]", "groups.g", "members[0].overrides[0].replica", "is missing"),
        (MEMBER + 'input = "a"\ninput_json = 1', "groups.g", "members[0].input_json", "give either input or input_json, not both"),
        (MEMBER + "input = 1", "groups.g", "members[0].input", "must be text"),
        (MEMBER + "variables = { a = nan }", "groups.g", "members[0].variables.a", "nan is not a JSON number"),
        (MEMBER + 'name = "a b"', "groups.g", "members[0].name", "'a b' is not a name; use letters, digits, _ . : and -, at most 128, not starting with . : or -"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_table_key_and_sentence(
    text: str, table: str, key: str, message: str, tmp_path: Path
) -> None:
    assert mistakes(tmp_path, text) == [(table, key, message)]


def test_a_value_nested_deeper_than_anybody_writes_is_a_mistake() -> None:
    value: object = 1
    for _ in range(5000):
        value = [value]
    with pytest.raises(CatalogError, match=r"\[groups\.g\] metadata\.a: is nested too deep"):
        load_tables({"groups": {"g": {"members": [], "metadata": {"a": value}}}})


def test_a_constructor_that_quotes_nothing_keeps_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_TEST_TOKEN", "s3cret\nx")
    found = mistakes(tmp_path, HTTP + 'headers = { a = "${env:MOTET_TEST_TOKEN}" }')
    assert [(table, key[:7]) for table, key, _ in found] == [("agents.a", "headers")]
    assert "s3cret" not in str(found)
