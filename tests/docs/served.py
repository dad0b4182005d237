"""Stand-ins for the analysers that the pages speak of."""


def lint(request: object) -> list[str]:
    return [f"nothing to say about {request}"]


def types(request: object) -> list[str]:
    return [f"no types in {request}"]
