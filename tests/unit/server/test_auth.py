"""Tokens, rights and tenants: pure decisions."""

import hashlib
import re
from typing import Any

import pytest

from motet_server import server
from motet_server.auth import (
    NEEDED,
    BadTokens,
    Caller,
    PermissionDenied,
    Right,
    Tokens,
    Unauthenticated,
    bearer,
    check_right,
    new_token,
    only_tenant,
    table,
    tenant_for,
)

RUN = "/motet.v1.RunService/Run"
SERVE = "/motet.v1.WorkerService/Serve"
NOBODY: Any = None


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def tokens(**given: str) -> str:
    return "".join(
        f'[tokens.{name}]\nsha256 = "{digest(token)}"\ntenant = "acme"\nrights = ["run"]\n'
        for name, token in given.items()
    )


def caller(*rights: Right, tenant: str = "acme") -> Caller:
    return Caller(name="ci", tenant=tenant, rights=frozenset(rights))


def problems(text: str) -> list[str]:
    with pytest.raises(BadTokens) as caught:
        Tokens.parse(text)
    return list(caught.value.problems)


# ------------------------------------------------------------------------------------------------------------- tokens


def test_a_token_is_found_among_several() -> None:
    known = Tokens.parse(tokens(one="first", two="second"))
    assert len(known) == 2
    assert known(RUN, {"authorization": "Bearer second"}) == Caller(
        name="two", tenant="acme", rights=frozenset({Right.RUN})
    )


@pytest.mark.parametrize("header", ["Bearer first", "bearer first", "BEARER   first "])
def test_the_scheme_may_be_in_any_case(header: str) -> None:
    assert Tokens.parse(tokens(one="first"))(RUN, {"authorization": header}).name == "one"


@pytest.mark.parametrize(
    "metadata", [{}, {"authorization": ""}, {"authorization": "Bearer "}, {"authorization": "Basic x"}]
)
def test_a_call_without_a_token_says_how_to_send_one(metadata: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated, match="authorization: Bearer") as caught:
        bearer(metadata)
    assert caught.value.reason == "TOKEN_MISSING"


@pytest.mark.parametrize(
    "token", ["a-wrong-one", "first, second", "first second", "x" * 5000, "\ud800", digest("first")]
)
def test_an_unknown_token_is_refused_and_not_repeated(token: str) -> None:
    known = Tokens.parse(tokens(one="first", two="second"))
    with pytest.raises(Unauthenticated) as caught:
        known(RUN, {"authorization": f"Bearer {token}"})
    assert caught.value.reason == "TOKEN_INVALID"
    assert token not in str(caught.value)
    assert not caught.value.details


def test_a_new_token_is_known_by_its_table() -> None:
    token = new_token()
    text = table("ci", token, "acme", [Right.RUN, Right.WATCH, Right.RUN])
    assert token not in text
    assert Tokens.parse(text)(RUN, {"authorization": f"Bearer {token}"}) == caller(Right.RUN, Right.WATCH)
    assert re.fullmatch(r"motet_[A-Za-z0-9_-]{43}", token)
    assert new_token() != token


def test_a_name_that_toml_does_not_take_bare_is_quoted() -> None:
    text = table("ci.main@host", "secret", "", [Right.WORK])
    assert Tokens.parse(text)(SERVE, {"authorization": "Bearer secret"}).name == "ci.main@host"


@pytest.mark.parametrize(("name", "tenant"), [('a"b', "acme"), ("", "acme"), ("ci", 'x"\n[tokens.y]'), ("ci", "")])
def test_a_table_that_the_file_would_not_take_is_not_made(name: str, tenant: str) -> None:
    with pytest.raises(BadTokens):
        table(name, "secret", tenant, [Right.RUN])


def test_no_tokens_at_all_let_nobody_in() -> None:
    with pytest.raises(Unauthenticated):
        Tokens.parse("")(RUN, {"authorization": "Bearer x"})


# ----------------------------------------------------------------------------------------------------------- the file


def test_every_mistake_of_a_file_is_named() -> None:
    text = f"""
        other = 1
        [tokens.a]
        sha256 = "my-real-token"
        tenant = "acme"
        rights = ["run"]
        [tokens.b]
        sha256 = "{digest("b")}"
        tenant = "no tenant"
        rights = ["fly"]
        token = "my-real-token"
        [tokens.c]
        sha256 = "{digest("c")}"
        rights = ["watch"]
    """
    found = problems(text)
    assert [problem.partition(": ")[0] for problem in found] == [
        "other",
        "[tokens.a] sha256",
        "[tokens.b] token",
        "[tokens.b] tenant",
        "[tokens.b] rights",
        "[tokens.c] tenant",
    ]
    assert not any("my-real-token" in problem for problem in found)


def test_two_tables_of_one_token_are_refused() -> None:
    assert problems(tokens(one="same", two="same")) == [
        "[tokens.two] sha256: is that of [tokens.one] too; each token has one table"
    ]


@pytest.mark.parametrize(
    "text",
    ["tokens = 1", "[tokens", "tokens.a = 1", "[tokens.a]", "[tokens.a]\nrights = 1", "[tokens.a]\nrights = [{}]"],
)
def test_what_is_no_file_of_tokens_is_refused(text: str) -> None:
    assert problems(text)


def test_a_token_needs_no_tenant_to_work_or_to_see_all() -> None:
    text = "".join(
        f'[tokens.{right}]\nsha256 = "{digest(right)}"\nrights = ["{right}"]\n' for right in ("work", "admin")
    )
    assert len(Tokens.parse(text)) == 2


# ------------------------------------------------------------------------------------------------- rights and tenants


def test_every_method_of_the_services_has_a_row() -> None:
    services = [*server._services(NOBODY_ENGINE, NOBODY, NOBODY), server._worker_service(NOBODY_ENGINE)]
    assert {f"/{service.name}/{method.name}" for service in services for method in service.methods} == set(NEEDED)


class _Any:
    def __getattr__(self, name: str) -> Any:
        return self


NOBODY_ENGINE: Any = _Any()


@pytest.mark.parametrize("method", sorted(NEEDED))
def test_a_method_takes_its_rights_and_no_others(method: str) -> None:
    for right in (Right.RUN, Right.WATCH, Right.WORK):
        if right in NEEDED[method]:
            check_right(caller(right), method)
        else:
            with pytest.raises(PermissionDenied, match=method.rpartition("/")[2]) as caught:
                check_right(caller(right), method)
            assert caught.value.reason == "RIGHT_MISSING"


def test_an_admin_runs_and_watches_but_is_no_worker() -> None:
    for method in set(NEEDED) - {SERVE}:
        check_right(caller(Right.ADMIN), method)
    with pytest.raises(PermissionDenied):
        check_right(caller(Right.ADMIN), SERVE)


def test_a_method_of_motet_without_a_row_is_for_admins() -> None:
    check_right(caller(Right.ADMIN), "/motet.v9.RunService/New")
    with pytest.raises(PermissionDenied):
        check_right(caller(Right.RUN, Right.WATCH, Right.WORK), "/motet.v9.RunService/New")


def test_other_services_need_a_caller_and_no_right() -> None:
    check_right(caller(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")


def test_a_run_is_on_the_account_of_the_tokens_tenant() -> None:
    assert tenant_for(caller(), "") == "acme"
    assert tenant_for(caller(), "acme") == "acme"
    with pytest.raises(PermissionDenied, match="'other'") as caught:
        tenant_for(caller(Right.RUN), "other")
    assert (caught.value.reason, dict(caught.value.details)) == ("TENANT_DENIED", {"tenant": "other"})


def test_an_admin_acts_for_any_tenant_and_for_its_own_when_it_names_none() -> None:
    assert tenant_for(caller(Right.ADMIN), "other") == "other"
    assert tenant_for(caller(Right.ADMIN), "") == "acme"


def test_without_a_caller_tenants_are_trusted_as_given() -> None:
    assert tenant_for(None, "any") == "any"
    assert only_tenant(None) is None


def test_who_is_no_admin_sees_one_tenant() -> None:
    assert only_tenant(caller(Right.WATCH)) == "acme"
    assert only_tenant(caller(Right.ADMIN)) is None
