"""The image on a machine that says it is a cloud's: its configuration comes from the metadata, not from its disk."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Iterator

import pytest

from end_to_end import hostile
from pluto_deploy.local.state import StateFolder
from pluto_image.artifact import Dist
from pluto_image.tools import ToolsTree
from pluto_measure.errors import PlutoError
from pluto_notary import config, fetch_config, fetch_metadata
from simulators import local_runs
from simulators.notary.metadata import MetadataService

SMBIOS = {"google": f"type=1,manufacturer={fetch_config.GOOGLE}", "azure": f"type=3,asset={fetch_config.AZURE_TAG}"}
PAYLOAD = config.encode_payload(deployment="from-the-metadata")
ITEM = {"google": "pluto-config", "azure": "userData"}


@contextlib.contextmanager
def served(cloud: str) -> Iterator[tuple[MetadataService, tuple[str, ...]]]:
    """A service, and a second card on whose network it is; all connections of the guest are one to it."""
    host, port = fetch_metadata.ADDRESS
    items = {ITEM[cloud]: config.encode_config_text(PAYLOAD)}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service = MetadataService(cloud, items, listener, name=host, patience=hostile.TIMEOUT)
        thread = threading.Thread(target=service.serve)
        thread.start()
        ours = "{}:{}".format(*service.address)
        netdev = f"user,id=cloud,restrict=on,net=169.254.169.0/24,guestfwd=tcp:{host}:{port}-tcp:{ours}"
        card = ("-netdev", netdev, "-device", "virtio-net-pci,netdev=cloud,romfile=")
        try:
            yield service, ("-smbios", SMBIOS[cloud], *card)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.more_boots
@pytest.mark.parametrize("cloud", sorted(SMBIOS))
def test_the_configuration_comes_from_the_metadata(
    cloud: str, dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    with served(cloud) as (service, extra), contextlib.suppress(PlutoError):  # it is no machine that we know
        local_runs.start(hostile.order(dist, *extra), tools, folder)
    said = folder.serial_log.read_text(errors="replace")
    assert f"pluto: config-accepted digest={hashlib.sha256(PAYLOAD).hexdigest()}" in said
    assert "pluto: ready" in said
    assert len(service.asked) == 1
