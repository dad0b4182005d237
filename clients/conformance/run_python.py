"""Plays the scenarios with the Python client and worker. Knows nothing of the server but its address.

Usage: run_python.py --address HOST:PORT --cases DIR [--only NAME]
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from forms import arguments, event_form, form_of
from matching import Mismatch, check, kind_of

from motet_client import Client, MapInput, MotetClientError, RunStream
from motet_client.worker import AgentFailed, Worker, WorkerCall
from motet_proto.v1 import catalog_service_pb2 as catalog
from motet_proto.v1 import run_pb2
from motet_proto.v1 import run_service_pb2 as pb

LEAVING: Final = 10.0
"""Seconds that a drained worker may take."""
STUBBORN: Final = 3.0
Found = dict[str, Any]


def play(address: str, case: Mapping[str, Any]) -> Found:
    """What `check` compares with the case's `expect`."""
    with Client(address) as client, worker_of(address, case.get("worker")):
        found: Found = {}
        try:
            _OPERATIONS[case["operation"]](client, case, found)
        except MotetClientError as error:
            fields = [violation.field for violation in error.violations]
            found["error"] = {
                "code": error.code,
                "reason": error.reason,
                "message": error.message,
                "fields": fields,
            }
        return found


def _run(client: Client, case: Mapping[str, Any], found: Found) -> None:
    target, given, options = _arguments(case)
    found["result"] = form_of(client.run(target, given, **options), run_pb2.RunResult)
    found["response"] = {"result": found["result"]}


def _stream(client: Client, case: Mapping[str, Any], found: Found) -> None:
    target, given, options = _arguments(case)
    until = case.get("abort_after", {}).get("event")
    with client.stream(target, given, **options) as stream:
        if _read(stream, found, until):
            stream.cancel()
            found["error"] = {"code": "CANCELLED"}
        else:
            found["result"] = _result(stream)


def _start_and_watch(client: Client, case: Mapping[str, Any], found: Found) -> None:
    run_id = _start(client, case, found)
    with client.watch(run_id) as stream:
        _read(stream, found)
        found["result"] = _result(stream)


def _watch_resume(client: Client, case: Mapping[str, Any], found: Found) -> None:
    run_id = _start(client, case, found)
    with client.watch(run_id) as stream:
        last = 0
        for _ in range(case["break_after"]):
            event = next(stream)
            found.setdefault("events", []).append(event_form(event))
            last = event.sequence
    with client.watch(run_id, after_sequence=last) as stream:
        _read(stream, found)
        found["result"] = _result(stream)


def _cancel_run(client: Client, case: Mapping[str, Any], found: Found) -> None:
    run_id = _start(client, case, found)
    with client.watch(run_id) as stream:
        _read(stream, found, case["cancel_after"]["event"])
    run = form_of(client.cancel(run_id), run_pb2.Run)
    found["response"], found["result"] = {"run": run}, run.get("result", {})


def _map(client: Client, case: Mapping[str, Any], found: Found) -> None:
    target, _, options = _arguments(case)
    inputs = [MapInput(text, id=str(place)) for place, text in enumerate(case["inputs"])]
    with client.map(
        target, inputs, **{name: value for name, value in options.items() if name != "request_id"}
    ) as answers:
        found["answers"] = [_answer(form_of(answer, pb.MapRunResponse)) for answer in answers]


def _answer(answer: Found) -> Found:
    output = answer["result"].get("output")
    return {"key": answer["id"]} | ({} if output is None else {"output": output})


def _get_missing(client: Client, _case: Mapping[str, Any], found: Found) -> None:
    found["response"] = {"run": form_of(client.get("run_missing"), run_pb2.Run)}


def _list_agents(client: Client, _case: Mapping[str, Any], found: Found) -> None:
    found["response"] = {"agents": [form_of(agent, catalog.Agent) for agent in client.agents()]}


_OPERATIONS: Final = {
    "run": _run,
    "stream": _stream,
    "start_and_watch": _start_and_watch,
    "watch_resume": _watch_resume,
    "map": _map,
    "cancel_run": _cancel_run,
    "get_missing": _get_missing,
    "list_agents": _list_agents,
    "worker": _stream,
}


def _arguments(case: Mapping[str, Any]) -> tuple[Any, object, dict[str, Any]]:
    target, given, options = arguments(case["request"])
    if "deadline_ms" in case:
        options["deadline"] = case["deadline_ms"] / 1000
    return target, given, options


def _start(client: Client, case: Mapping[str, Any], found: Found) -> str:
    target, given, options = _arguments(case)
    started = client.start(target, given, **options)
    found["response"] = form_of(started, pb.StartRunResponse)
    return started.run_id


def _read(stream: RunStream, found: Found, until: str | None = None) -> bool:
    """Read to the end, or to an event of this kind; whether there was one."""
    events = found.setdefault("events", [])
    for event in stream:
        events.append(event_form(event))
        if until is not None and kind_of(events[-1]) == until:
            return True
    return False


def _result(stream: RunStream) -> Found:
    if stream.result is None:
        raise Mismatch("the stream ended without a result")
    return form_of(stream.result, run_pb2.RunResult)


@contextmanager
def worker_of(address: str, offer: Mapping[str, Any] | None) -> Iterator[None]:
    """A worker that is welcome for as long as the block lasts, and drains after it."""
    if offer is None:
        yield
        return
    capacity = offer.get("capacity", 1)
    worker = Worker(address, capacity=capacity, stop_grace=0.2 if offer["behaviour"] == "stubborn" else 5.0)
    worker.agent(name=offer["agent"], capacity=capacity, description="")(_BEHAVIOURS[offer["behaviour"]])
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    if not worker.wait_ready(LEAVING):
        raise Mismatch("worker: the server did not welcome it")
    try:
        yield
    finally:
        worker.drain()
        thread.join(LEAVING)
        if thread.is_alive():
            worker.close()
    if thread.is_alive():
        raise Mismatch(f"worker: it did not leave within {LEAVING:g} s")


def _upper(call: WorkerCall) -> str:
    return call.text.upper()


def _fail(_call: WorkerCall) -> str:
    raise AgentFailed("the worker refuses", reason="WORKER_REFUSES")


def _slow(call: WorkerCall) -> str:
    try:
        seconds = float(call.text)
    except ValueError:
        seconds = 30.0
    call.wait_cancelled(seconds)
    call.check()
    return call.text.upper()


def _progress(call: WorkerCall) -> str:
    for step in (1, 2, 3):
        call.report({"step": step})
    return call.text.upper()


def _stubborn(call: WorkerCall) -> str:
    time.sleep(STUBBORN)
    return call.text.upper()


_BEHAVIOURS: Final = {"upper": _upper, "fail": _fail, "slow": _slow, "progress": _progress, "stubborn": _stubborn}


def judge(address: str, case: Mapping[str, Any]) -> Found:
    """The line for one case."""
    try:
        check(case["expect"], play(address, case))
    except Mismatch as difference:
        return {"case": case["name"], "ok": False, "why": str(difference)}
    except Exception as error:  # noqa: BLE001 - a case that cannot be played has failed; the others go on
        return {"case": case["name"], "ok": False, "why": f"{type(error).__name__}: {error}"}
    return {"case": case["name"], "ok": True}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--address", required=True)
    parser.add_argument("--cases", required=True, type=Path)
    parser.add_argument("--only")
    given = parser.parse_args()
    cases = [json.loads(file.read_text()) for file in sorted(given.cases.glob("*.json"))]
    chosen = [case for case in cases if given.only in (None, case["name"])]
    if not chosen:
        print(f"{given.cases}: there is no case {given.only or ''}", file=sys.stderr)
        return 1
    for case in chosen:
        print(json.dumps(judge(given.address, case)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
