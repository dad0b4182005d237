"""Lets a call in or not, before its request is read. Knows who decides that, and not how; the statuses are those of the table."""

from collections.abc import Mapping

from motet_server.auth import OPEN, Authorise, Caller, Unauthenticated, check_right
from motet_server.rpc import RpcStatus
from motet_server.status import to_status


class Access:
    """Asks `authorise` who calls, and checks the right to the method. Touches nothing that belongs to one thread."""

    def __init__(self, authorise: Authorise) -> None:
        self._authorise = authorise

    def admit(self, method: str, metadata: Mapping[str, str]) -> Caller | RpcStatus | None:
        """The caller, or the status to refuse the call with; None where no token is needed."""
        if method.startswith(OPEN):
            return None
        try:
            caller = self._authorise(method, metadata)
            check_right(caller, method)
        except Exception as error:  # noqa: BLE001 - whatever is raised, the call must not get in
            return to_status(error)
        return caller

    def still(self, method: str, metadata: Mapping[str, str], caller: Caller) -> RpcStatus | None:
        """The status to end a call with that was let in before; None when it may go on."""
        now = self.admit(method, metadata)
        if isinstance(now, RpcStatus):
            return now
        if now is None or now.tenant == caller.tenant:
            return None
        return to_status(Unauthenticated("the token has been given to another tenant; make the call again"))
