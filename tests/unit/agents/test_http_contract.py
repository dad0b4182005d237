"""The promises of every agent, kept by the http agent against a server that runs in threads of its own."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from motet.agents.http import HttpAgent
from motet.testing.contracts_agent import AgentContract


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        if self.path == "/slow":
            self.rfile.read(int(self.headers["content-length"]) + 1)  # the one byte more never comes: until it closes
            return
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(500 if self.path == "/failing" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class TestHttpAgent(AgentContract):
    """The server is a thread's, because the suite makes agents in plain functions, which ask for no trio fixture."""

    url: str

    @pytest.fixture(autouse=True)
    def _serve(self) -> Iterator[None]:
        with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            yield
            server.shutdown()
            thread.join()

    def make_agent(self) -> HttpAgent:
        return HttpAgent("x", self.url)

    def make_slow_agent(self) -> HttpAgent:
        return HttpAgent("x", self.url + "/slow")

    def make_failing_agent(self) -> HttpAgent:
        return HttpAgent("x", self.url + "/failing")
