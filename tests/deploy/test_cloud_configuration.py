"""The run-time configuration that a deployment sends to a cloud is the one that a machine takes from its metadata."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pluto_deploy.azure import bodies as azure_bodies
from pluto_deploy.google import metadata as google_metadata
from pluto_notary import config, fetch_metadata
from pluto_notary.fetch_metadata import SERVICES
from simulators.notary.metadata import MetadataService, metadata_service

PAYLOAD = config.encode_payload(deployment="staging-1")


def taken(service: MetadataService) -> bytes:
    text = fetch_metadata.read(SERVICES[service.cloud], clock=time.monotonic, sleep=time.sleep, address=service.address)
    return config.decode_config_text(text)


@pytest.mark.parametrize("payload", [b"", PAYLOAD])
def test_google(payload: bytes) -> None:
    items = google_metadata.domain(payload)
    with metadata_service("google", items) as service:
        assert taken(service) == payload
    assert google_metadata.payload(items) == payload


@pytest.mark.parametrize("payload", [b"", PAYLOAD])
def test_azure(payload: bytes) -> None:
    platform = SimpleNamespace(guest_state="NonPersistedTPM", size="s", location="l", zone=None)
    machine = azure_bodies.machine(cast(Any, platform), {}, "nic", disk="d", image=None, disk_name="n", config=payload)
    properties = cast("dict[str, str]", machine["properties"])
    with metadata_service("azure", {"userData": properties["userData"]}) as service:
        assert taken(service) == payload
    assert properties["userData"] == config.encode_config_text(payload), "one form everywhere"
