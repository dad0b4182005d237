"""The address that workers share: whom it keeps out, and whom it lets in."""

import socket

import pytest

from motet.errors import Unavailable
from motet_server.cli.exits import UsageError
from motet_server.cli.reserve import reserved


def listening(port: int, *, shared: bool) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind(("127.0.0.1", port))
        made.listen()
    except OSError:
        made.close()
        raise
    return made


def test_those_who_share_the_port_may_listen_and_no_other_may() -> None:
    with reserved("127.0.0.1:0") as address:
        port = int(address.rpartition(":")[2])
        assert port
        with listening(port, shared=True), listening(port, shared=True):
            with pytest.raises(OSError, match="in use"):
                listening(port, shared=False)
            with pytest.raises(Unavailable) as refused, reserved(address):
                pass
            assert refused.value.reason == "ADDRESS_IN_USE"
    with reserved(address) as again:
        assert again == address


def test_a_name_with_several_addresses_gets_one_port_for_all() -> None:
    with reserved("localhost:0") as address:
        host, _, port = address.rpartition(":")
        assert host == "localhost"
        with listening(int(port), shared=True) as made:
            assert made.getsockname()[1] == int(port)


@pytest.mark.parametrize(
    "address", ["unix:/tmp/socket", "127.0.0.1", "127.0.0.1:", ":50061", "127.0.0.1:http", "127.0.0.1:99999", ""]
)
def test_what_is_no_host_and_port_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"^--address: "), reserved(address):
        pass


@pytest.mark.parametrize("address", ["no.such.host.invalid:0", "192.0.2.1:0"])
def test_an_address_that_is_not_of_this_machine_is_refused(address: str) -> None:
    with pytest.raises(Unavailable), reserved(address):
        pass
