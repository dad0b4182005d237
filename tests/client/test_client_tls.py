"""TLS and tokens of the client, at all three doors."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

import motet_client
from motet_client import InvalidArgument, Tls, Unavailable
from motet_proto.v1 import run_service_pb2 as pb

Serve = Callable[..., str]
NOWHERE = "127.0.0.1:1"


class Listening:
    """Answers ListLimits, and keeps what callers send to prove who they are."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    def list_limits(self, _request: pb.ListLimitsRequest, context: grpc.ServicerContext) -> pb.ListLimitsResponse:
        sent = {key: str(value) for key, value in context.invocation_metadata()}
        self.tokens.append(sent.get("authorization", ""))
        return pb.ListLimitsResponse(waiting=7)

    def handler(self) -> grpc.GenericRpcHandler:
        method = grpc.unary_unary_rpc_method_handler(
            self.list_limits, pb.ListLimitsRequest.FromString, pb.ListLimitsResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler("motet.v1.RunService", {"ListLimits": method})


@pytest.fixture
def listening() -> Listening:
    return Listening()


@pytest.fixture
def serve(listening: Listening) -> Iterator[Serve]:
    """Starts a server and returns its address; with a certificate and its key it talks TLS."""
    with ExitStack() as stack:

        def start(cert: Path | None = None, key: Path | None = None, client_ca: Path | None = None) -> str:
            server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
            server.add_generic_rpc_handlers((listening.handler(),))
            if cert is None or key is None:
                port = server.add_insecure_port("127.0.0.1:0")
            else:
                ca = None if client_ca is None else client_ca.read_bytes()
                pair = [(key.read_bytes(), cert.read_bytes())]
                port = server.add_secure_port(
                    "127.0.0.1:0", grpc.ssl_server_credentials(pair, ca, require_client_auth=ca is not None)
                )
            server.start()
            stack.callback(lambda: server.stop(0).wait(10))
            return f"127.0.0.1:{port}"

        yield start


async def ask(client: Any) -> None:
    assert (await client.limits()).waiting == 7


async def fail(client: Any) -> None:
    with pytest.raises(Unavailable):
        await client.limits()


def test_a_token_goes_with_each_call(door: Any, serve: Serve, listening: Listening) -> None:
    door.address = serve()
    door.play(ask, token="secret")
    assert listening.tokens == ["Bearer secret"]
    door.play(ask)
    assert listening.tokens[1:] == [""]


def test_a_server_of_the_given_authority_is_trusted(
    door: Any, serve: Serve, listening: Listening, authorities: Callable[..., Any]
) -> None:
    home, strange = authorities(), authorities("strange")
    door.address = serve(*home.issue("server"))
    door.play(ask, tls=Tls(ca=home.ca), token="secret")
    door.play(ask, tls=Tls(ca=home.ca.read_bytes()), token="secret")
    door.play(fail, tls=Tls(ca=strange.ca), token="secret")
    door.play(fail, tls=True, token="secret")
    door.play(fail, token="secret")
    assert listening.tokens == ["Bearer secret"] * 2


def test_a_server_is_shown_the_clients_certificate(door: Any, serve: Serve, authorities: Callable[..., Any]) -> None:
    home, clients = authorities(), authorities("clients")
    door.address = serve(*home.issue("server"), client_ca=clients.ca)
    cert, key = clients.issue("known")
    door.play(ask, tls=Tls(ca=home.ca, cert=cert, key=key))
    door.play(fail, tls=Tls(ca=home.ca))


def test_the_server_may_have_another_name_than_its_address(
    door: Any, serve: Serve, authorities: Callable[..., Any]
) -> None:
    home = authorities()
    door.address = serve(*home.issue("server"))
    door.play(ask, tls=Tls(ca=home.ca, server_name="server.test"))
    door.play(fail, tls=Tls(ca=home.ca, server_name="elsewhere.test"))


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"token": ""}, "token"),
        ({"token": "two words"}, "token"),
        ({"token": "a-secret\n"}, "token"),
        ({"token": "a-secret\u00e9"}, "token"),
        ({"token": "x" * 5000}, "token"),
        ({"token": "a-secret", "metadata": {"Authorization": "Bearer b"}}, "token"),
        ({"tls": True, "credentials": grpc.ssl_channel_credentials()}, "tls"),
        ({"tls": Tls(cert=b"-----BEGIN")}, "tls"),
        ({"tls": Tls(ca="/nowhere/ca.pem")}, "tls.ca"),
        ({"tls": Tls(ca=b"a-secret, no PEM")}, "tls.ca"),
        ({"tls": Tls(cert=b"-----BEGIN", key=b"a-secret")}, "tls.key"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name_and_not_repeated(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        motet_client.Client(NOWHERE, **settings)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert "a-secret" not in str(caught.value)


def test_neither_token_nor_key_is_in_a_text_of_the_client() -> None:
    with motet_client.Client(NOWHERE, token="a-secret", metadata={"x": "y"}) as client:
        assert "a-secret" not in repr(vars(client))
    assert "a-secret" not in repr(Tls(key=b"a-secret"))
