"""The plans of requests, and the groups of a catalog that were looked at already."""

from motet.engine.resolve import Bounds, GroupNode, Names, Node, resolve
from motet.model.run import RunRequest


class Plans:
    """Those of an engine."""

    def __init__(self, catalog: Names, bounds: Bounds) -> None:
        self._catalog = catalog
        self._bounds = bounds
        self._known: dict[str, GroupNode] = {}

    def resolve(self, request: RunRequest, bounds: Bounds) -> Node:
        """The plan of a request, ready to run. A group that the catalog names is looked at once, for as long as it is the
        same. Raises InvalidRequest and NotFound."""
        target = request.target
        if not isinstance(target, str) or request.limits is not None or bounds != self._bounds:
            return resolve(request, self._catalog, bounds)
        named, known = self._catalog.groups.get(target), self._known.get(target)
        if known is not None and (named is None or known.group is not named.group):
            known = None
        node = resolve(request, self._catalog, bounds, known)
        if isinstance(node, GroupNode):
            self._known[target] = node
        return node
