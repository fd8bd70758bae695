"""Make storage-schema.json of Google's own description of Cloud Storage: names, places and types, and nothing else.

    python tests/simulators/cloud/make_storage_schema.py DISCOVERY

DISCOVERY is `storage.v1.json` among the discovery documents that the package google-api-python-client carries (here of
2.202.0, revision 20261009).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

METHODS = ("get", "list", "insert", "delete")


def excerpt(document: dict[str, Any]) -> dict[str, Any]:
    methods = document["resources"]["objects"]["methods"]
    common = document["parameters"]
    return {
        "revision": document["revision"],
        "common": {name: _type(value) for name, value in common.items()},
        "methods": {
            name: {
                "method": methods[name]["httpMethod"],
                "path": f"/{document['servicePath']}{methods[name]['path']}",
                "query": {
                    parameter: _type(value)
                    for parameter, value in methods[name]["parameters"].items()
                    if value["location"] == "query"
                },
            }
            for name in METHODS
        },
        "upload": methods["insert"]["mediaUpload"]["protocols"]["simple"]["path"],
        "object": {name: _type(value) for name, value in document["schemas"]["Object"]["properties"].items()},
    }


def _type(value: dict[str, Any]) -> str:
    """One word: string, string/int64, boolean, array, object; enums with their values."""
    word: str = value["type"] + (f"/{value['format']}" if "format" in value else "")
    return word + (f"={'|'.join(value['enum'])}" if "enum" in value else "")


if __name__ == "__main__":
    made = excerpt(json.loads(Path(sys.argv[1]).read_text()))
    target = Path(__file__).with_name("storage-schema.json")
    target.write_text(json.dumps(made, sort_keys=True, separators=(",", ":")) + "\n")
