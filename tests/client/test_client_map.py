"""Maps through the three doors: bounded both ways, honest about what goes wrong on either side."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import motet_client
from motet_client import MapInput
from motet_proto.v1 import run_service_pb2 as pb


async def first_answer(client: Any, inputs: Any, *, then: Exception | None = None) -> None:
    async with client.map("g", inputs) as answers:
        await anext(answers)
        if then is not None:
            raise then


def test_a_map_answers_every_input_and_takes_no_more_than_its_window(door: Any, script: Any, make: Any) -> None:
    taken: list[int] = []
    ahead: list[int] = []
    read = 0

    def handler(requests: Any, _context: Any) -> Iterator[Any]:
        assert next(requests).open.max_in_flight == 2
        for index, request in enumerate(requests):
            result = make.result(request.input.input.text)
            yield pb.MapRunResponse(index=index, id=request.input.id, result=result)

    script.on["MapRun"] = handler

    def inputs() -> Iterator[object]:
        for number in range(50):
            taken.append(number)
            yield MapInput(str(number), id=f"i{number}")

    async def scenario(client: Any) -> None:
        nonlocal read
        async with client.map("g", inputs(), max_in_flight=2) as answers:
            async for answer in answers:
                ahead.append(len(taken) - read)
                read += 1
                assert (answer.index, answer.id, answer.result.unwrap()) == (read - 1, f"i{read - 1}", str(read - 1))

    door.play(scenario)
    assert read == 50
    assert max(ahead) <= 2 * 2 + 2


def test_a_map_takes_an_asynchronous_iterable(door: Any, script: Any, make: Any, ready: Any) -> None:
    script.on["MapRun"] = lambda requests, _context: (
        pb.MapRunResponse(index=index, result=make.result(request.input.input.text))
        for index, request in enumerate(list(requests)[1:])
    )

    async def inputs() -> AsyncIterator[str]:
        for word in ("a", "b"):
            await ready()
            yield word

    async def scenario(client: Any) -> None:
        async with client.map("g", ["a", "b"] if door.name == "sync" else inputs()) as answers:
            assert [answer.result.unwrap() async for answer in answers] == ["a", "b"]

    door.play(scenario)


def test_an_input_that_has_no_payload_form_is_raised_to_the_reader(door: Any, script: Any) -> None:
    script.on["MapRun"] = lambda requests, _context: iter([list(requests)][:0])

    async def scenario(client: Any) -> None:
        with pytest.raises(motet_client.InvalidArgument, match=r"inputs\[1\]"):
            await first_answer(client, ["good", object()])

    door.play(scenario)


def test_an_iterable_that_raises_is_raised_to_the_reader(door: Any, script: Any) -> None:
    script.on["MapRun"] = lambda requests, _context: iter([list(requests)][:0])

    def inputs() -> Iterator[str]:
        yield "good"
        raise LookupError("the file is gone")

    async def scenario(client: Any) -> None:
        with pytest.raises(LookupError, match="the file is gone"):
            await first_answer(client, inputs())

    door.play(scenario)


def test_what_a_map_block_raises_comes_out_as_it_is_and_ends_the_map(door: Any, script: Any, make: Any) -> None:
    def handler(requests: Any, context: Any) -> Iterator[Any]:
        script.listen(context)
        next(requests)
        for index, _ in enumerate(requests):
            yield pb.MapRunResponse(index=index, result=make.result())

    script.on["MapRun"] = handler

    async def scenario(client: Any) -> None:
        with pytest.raises(KeyError, match="mine"):
            await first_answer(client, map(str, range(10**9)), then=KeyError("mine"))

    door.play(scenario)
    assert script.cancelled.wait(10)


def test_a_map_that_the_server_ends_too_early_is_an_error(door: Any, script: Any) -> None:
    script.on["MapRun"] = lambda requests, _context: iter([list(requests)][:0])

    async def scenario(client: Any) -> None:
        with pytest.raises(motet_client.Internal) as caught:
            await first_answer(client, ["a"])
        assert caught.value.reason == "STREAM_ENDED"

    door.play(scenario)
