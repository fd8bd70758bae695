"""Confidential Space: what the token of a notary that runs as this container must say. Pure.

Google's launcher measures the container and its settings, and Google's service turns that into claims; registers are
not shown. Names are those of the token (Confidential Space documentation, "Token claims").
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.launch import Launch


def expected(launch: Launch) -> dict[str, object]:
    """Claims by name, nested as in the token. FormatError where the build has no container."""
    container = launch.container
    if container is None:
        raise FormatError("launch.json", "has no container, and Confidential Space runs nothing else")
    return {
        "swname": "CONFIDENTIAL_SPACE",
        "hwmodel": "GCP_INTEL_TDX",
        "dbgstat": "disabled-since-boot",
        "secboot": True,
        "submods": {
            "container": {
                "image_digest": container.manifest_digest,
                "image_id": container.image_id,
                "args": list(container.args),
                "env": dict(container.env),
                "cmd_override": [],
                "env_override": {},
            },
        },
    }
