"""A server with a certificate: who can talk to it, and certificates that are renewed while it runs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

import motet
import motet_server
from motet.errors import Unavailable
from motet.testing.fakes import ScriptedAgent
from motet_proto.v1.run_service_pb2 import RunRequest
from motet_proto.v1.run_service_pb2_grpc import RunServiceStub
from motet_server.tls import BadTls, Tls

Authorities = Callable[..., Any]
"""Makes authorities, as `Authority` of the tests' own conftest."""
REQUEST = RunRequest(group_name="one")


def load(authority: Any, name: str, clients: Any = None) -> Tls:
    cert, key = authority.issue(name)
    return Tls.load(cert, key, clients and clients.ca)


def secure(address: str, ca: Path, client: tuple[Path, Path] | None = None) -> grpc.Channel:
    cert, key = (None, None) if client is None else (each.read_bytes() for each in client)
    # A pool of its own: gRPC would use an open connection of another channel again.
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca.read_bytes(), key, cert), options)


async def run(rig: Any, channel: grpc.Channel) -> str:
    """Run something over the channel, close it, and tell what came of it: SUCCEEDED or a status."""
    with channel:
        try:
            result = (await rig.thread(RunServiceStub(channel).Run, REQUEST, timeout=20)).result
        except grpc.RpcError as error:
            return str(error.code().name)
    return "SUCCEEDED" if result.state == 3 else str(result)


async def test_a_client_that_trusts_the_authority_gets_in(rigs: Callable[..., Any], authorities: Authorities) -> None:
    home, strange = authorities(), authorities("strange")
    tls = load(home, "server")
    async with rigs(motet_server.ServerOptions(tls=tls)) as rig:
        assert await run(rig, secure(rig.server.address, home.ca)) == "SUCCEEDED"
        assert await run(rig, secure(rig.server.address, strange.ca)) == "UNAVAILABLE"
        assert await run(rig, grpc.insecure_channel(rig.server.address)) == "UNAVAILABLE"


async def test_with_a_client_authority_a_certificate_of_it_is_needed(
    rigs: Callable[..., Any], authorities: Authorities
) -> None:
    home, clients = authorities(), authorities("clients")
    tls = load(home, "server", clients)
    async with rigs(motet_server.ServerOptions(tls=tls)) as rig:
        address = rig.server.address
        assert await run(rig, secure(address, home.ca, clients.issue("known"))) == "SUCCEEDED"
        assert await run(rig, secure(address, home.ca)) == "UNAVAILABLE"
        assert await run(rig, secure(address, home.ca, home.issue("unknown"))) == "UNAVAILABLE"


async def test_a_certificate_is_renewed_for_new_connections(rigs: Callable[..., Any], authorities: Authorities) -> None:
    old, new = authorities("old"), authorities("new")
    shown = [load(old, "server")]
    async with rigs(motet_server.ServerOptions(tls=lambda: shown[-1])) as rig:
        address = rig.server.address
        with secure(address, old.ca) as staying:
            stub = RunServiceStub(staying)
            await rig.thread(stub.Run, REQUEST, timeout=20)
            shown.append(load(new, "renewed"))
            assert await run(rig, secure(address, new.ca)) == "SUCCEEDED"
            assert await run(rig, secure(address, old.ca)) == "UNAVAILABLE"
            await rig.thread(stub.Run, REQUEST, timeout=20)


async def test_clients_need_a_certificate_also_after_a_renewal(
    rigs: Callable[..., Any], authorities: Authorities
) -> None:
    home, first, second = authorities(), authorities("first"), authorities("second")
    shown = [load(home, "server", first)]
    async with rigs(motet_server.ServerOptions(tls=lambda: shown[-1])) as rig:
        address = rig.server.address
        assert await run(rig, secure(address, home.ca, first.issue("one"))) == "SUCCEEDED"
        shown.append(load(home, "renewed", second))
        assert await run(rig, secure(address, home.ca, second.issue("two"))) == "SUCCEEDED"
        assert await run(rig, secure(address, home.ca, first.issue("three"))) == "UNAVAILABLE"


@pytest.mark.parametrize("renewable", [False, True])
async def test_what_is_no_certificate_cannot_be_served_and_is_not_shown(renewable: bool) -> None:
    broken = Tls(cert=b"not a certificate", key=b"not a key")
    options = motet_server.ServerOptions(tls=(lambda: broken) if renewable else broken)
    catalog = motet.Catalog()
    catalog.add(ScriptedAgent("echo"))
    async with motet.open_engine(catalog) as engine:
        with pytest.raises(Unavailable, match="certificate") as caught:
            async with motet_server.serve(engine, "127.0.0.1:0", options=options):
                raise AssertionError
    assert caught.value.reason == "CERTIFICATE_INVALID"
    assert "not a" not in str(caught.value) + repr(broken)


async def test_a_port_in_use_is_still_told_apart(rigs: Callable[..., Any], authorities: Authorities) -> None:
    tls = load(authorities(), "server")
    options = motet_server.ServerOptions(tls=tls)
    async with rigs(options) as rig:
        with pytest.raises(Unavailable) as caught:
            async with motet_server.serve(rig.engine, rig.server.address, options=options):
                raise AssertionError
    assert caught.value.reason == "ADDRESS_IN_USE"


def test_files_that_do_not_fit_together_are_refused_by_name(tmp_path: Path, authorities: Authorities) -> None:
    home = authorities()
    cert, key = home.issue("server")
    _, other = home.issue("other")
    _, secret = home.issue("secret", secret=b"pass")
    missing, text = tmp_path / "missing", tmp_path / "text"
    text.write_text("no PEM")
    mistakes: list[tuple[tuple[Path, Path, Path | None], Path]] = [
        ((cert, other, None), cert),
        ((cert, secret, None), secret),
        ((missing, key, None), missing),
        ((text, key, None), text),
        ((cert, key, missing), missing),
        ((cert, key, text), text),
    ]
    for files, named in mistakes:
        with pytest.raises(BadTls, match=re.escape(str(named))):
            Tls.load(*files)
