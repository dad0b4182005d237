"""Scenarios that are too large for a file. Knows the form of a case and nothing else."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CASES = Path(__file__).with_name("cases")
LARGE = 6 * 2**20
"""Above the 4 MiB that gRPC takes by itself, and below the 16 MiB that the server does."""


def collect(folder: Path) -> None:
    """Write every case into a folder: those of `cases`, and these."""
    shutil.copytree(CASES, folder, dirs_exist_ok=True)
    for case in generated():
        (folder / f"{case['name']}.json").write_text(json.dumps(case))


def generated() -> Iterator[dict[str, Any]]:
    text = "0123456789abcdeä" * (LARGE // 17)
    digest = hashlib.sha256(text.encode()).hexdigest()
    yield {
        "name": "large_input",
        "description": "An input above gRPC's own 4 MiB reaches the agent whole.",
        "operation": "run",
        "request": {"groupName": "digest", "input": {"text": text}},
        "expect": {
            "result": {
                "state": "STATE_SUCCEEDED",
                "output": {"json": {"$matches": f'"length":{len(text.encode())},"sha256":"{digest}"'}},
            }
        },
    }
    yield {
        "name": "map_large_inputs",
        "description": "Inputs that are together larger than any window of the connection are answered one by one.",
        "operation": "map",
        "request": {
            "plan": {"group": {"name": "each", "members": [{"agent": "echo"}], "aggregation": {"name": "first"}}}
        },
        "inputs": [str(place) * 100_000 for place in range(10)],
        "expect": {
            "answers": [
                {"key": str(place), "output": {"text": {"$matches": f"^{place}{place}+$"}}} for place in range(10)
            ]
        },
    }
    yield {
        "name": "many_members",
        "description": "A plan of a thousand members, each with an input of its own, is taken as it is.",
        "operation": "run",
        "request": {
            "plan": {
                "group": {
                    "name": "many",
                    "members": [
                        {"agent": "echo", "name": f"m{place}", "input": {"text": str(place)}} for place in range(1000)
                    ],
                    "aggregation": {"name": "ensemble", "options": {"numbers_in_text": True}},
                    "maxParallel": 50,
                }
            }
        },
        "expect": {"result": {"state": "STATE_SUCCEEDED", "output": {"json": {"$matches": '"max":999'}}}},
    }
