"""The collection as Python sees it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "postman"
COLLECTION = FOLDER / "parley.postman_collection.json"
ENVIRONMENT = FOLDER / "parley.postman_environment.json"


def load(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def entries(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every folder and request below a node, in the order of a run."""
    for entry in node.get("item", []):
        yield entry
        yield from entries(entry)


def requests() -> list[dict[str, Any]]:
    return [entry for entry in entries(load(COLLECTION)) if "request" in entry]


def scripts(entry: dict[str, Any], listen: str) -> str:
    """What an entry runs before (`prerequest`) or after (`test`) its requests."""
    return "\n".join(
        line for event in entry.get("event", []) if event["listen"] == listen for line in event["script"]["exec"]
    )
