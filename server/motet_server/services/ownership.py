"""Whose runs a caller sees. To everybody else a run is not there: that it exists is nobody else's business."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from motet.errors import NotFound
from motet.model.run import RunPage, RunQuery, RunRecord
from motet_server.auth import only_tenant
from motet_server.rpc import RpcContext

if TYPE_CHECKING:
    from motet.engine.engine import Engine

_STEP: Final = 1000
"""Runs of all tenants that are looked at together for a page of those of one."""


class Ownership:
    """Knows whose each run is that can be asked for by its id."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._streamed: dict[str, str] = {}

    @contextmanager
    def streamed(self, run_id: str, tenant: str) -> Iterator[None]:
        """While the block lasts a run goes that its caller follows, of which the engine may keep no record."""
        self._streamed[run_id] = tenant
        try:
            yield
        finally:
            self._streamed.pop(run_id, None)

    async def check(self, run_id: str, context: RpcContext) -> None:
        """Raises NotFound for a run that is not the caller's, as for one that is not there."""
        tenant = only_tenant(context.caller)
        if tenant is None or self._streamed.get(run_id) == tenant:
            return
        _own(await self._engine.get(run_id), tenant)

    async def get(self, run_id: str, context: RpcContext) -> RunRecord:
        """The record of a run of the caller's. Raises NotFound."""
        return _own(await self._engine.get(run_id), only_tenant(context.caller))

    async def list(self, query: RunQuery, context: RpcContext) -> RunPage:
        """A page of the runs that the caller may see."""
        tenant = only_tenant(context.caller)
        if tenant is None:
            return await self._engine.list(query)
        found: list[RunRecord] = []
        token = query.page_token
        while True:
            page = await self._engine.list(replace(query, limit=_STEP, page_token=token))
            for place, run in enumerate(page.runs, 1):
                if run.tenant != tenant:
                    continue
                found.append(run)
                if len(found) == query.limit:
                    # The token of a page that ends with this run.
                    cut = await self._engine.list(replace(query, limit=place, page_token=token))
                    return RunPage(tuple(found), cut.next_page_token)
            token = page.next_page_token
            if not token:
                return RunPage(tuple(found), "")


def _own(record: RunRecord, tenant: str | None) -> RunRecord:
    if tenant is not None and record.tenant != tenant:
        # In the words of the engine for a run that is not there.
        text = f"there is no run {record.run_id!r}; it never was a background run, or has been forgotten"
        raise NotFound(text, reason="RUN_NOT_FOUND")
    return record
