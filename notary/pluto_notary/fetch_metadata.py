"""The run-time configuration from a cloud's metadata service: one GET of one address, by no name and no proxy.

Whatever answers is the host, which nobody trusts: an answer is bounded in time and length, no redirect is followed, and
the text is base64 in one spelling of one blob (`config.decode_config_text`). What is not there is waited for, as a disk
is: cards and addresses come up meanwhile, and a service may not know its machine yet. After that it is refused.

Sources: Google Cloud, "VM metadata"; Azure, "Azure Instance Metadata Service", "User data".
"""

from __future__ import annotations

import socket

from pluto_measure.errors import FormatError
from pluto_measure.record import record
from pluto_notary import config
from pluto_notary.errors import ConfigError
from pluto_notary.evidence.plain_http import Answer, get

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

ADDRESS: Final = ("169.254.169.254", 80)  # the only one that pluto-config.service may send packets to
WAIT_SECONDS: Final = 40.0  # with the last exchange less than the unit's TimeoutStartSec, and than the notary waits

_EXCHANGE_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1  # while nothing can be reached
_AGAIN_SECONDS: Final = 1.0  # after an answer: Azure's service takes five questions a second
_ABSENT: Final = 404
_LATER: Final = (410, 429)  # and 500 and above. 410: Azure's service is being updated


@record
class Service:
    """Where a cloud keeps it. `flavour`: what an answer's header metadata-flavor must be; None: the cloud has none."""

    path: str
    headers: tuple[tuple[str, str], ...]
    flavour: str | None


SERVICES: Final[Mapping[str, Service]] = {
    "google": Service(
        "/computeMetadata/v1/instance/attributes/pluto-config", (("metadata-flavor", "Google"),), "Google"
    ),
    "azure": Service(
        "/metadata/instance/compute/userData?api-version=2021-01-01&format=text", (("metadata", "true"),), None
    ),
}


def read(
    service: Service,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
    address: tuple[str, int] = ADDRESS,
) -> bytes:
    """The text, waited for. ConfigError: absent, unreadable, answer."""
    deadline = clock() + WAIT_SECONDS
    while True:
        pause = _AGAIN_SECONDS
        try:
            found = _judged(service, _asked(service, address, clock))
        except OSError as error:
            pause = _POLL_SECONDS
            found = ConfigError("unreadable", f"the metadata service cannot be asked: {error.strerror or error}")
        except FormatError as error:
            raise ConfigError("answer", error.problem) from error
        if isinstance(found, bytes):
            return found
        if clock() >= deadline:
            raise found
        sleep(pause)


def _asked(service: Service, address: tuple[str, int], clock: Callable[[], float]) -> Answer:
    return get(
        lambda: _connected(address),
        host=address[0],
        path=service.path,
        headers=service.headers,
        limit=config.LARGEST_TEXT,
        seconds=_EXCHANGE_SECONDS,
        clock=clock,
    )


def _judged(service: Service, answer: Answer) -> bytes | ConfigError:
    """The text, or why there is none yet. FormatError for what no time can mend."""
    if answer.status in _LATER or answer.status >= 500:
        return ConfigError("unreadable", f"the metadata service answers {answer.status}")
    if service.flavour is not None and answer.flavour != service.flavour:
        raise FormatError("answer", "not of the metadata service that was asked")
    if answer.status == _ABSENT or (answer.status == 200 and not answer.body):
        return ConfigError("absent", "the machine's metadata have none")
    if answer.status != 200:
        raise FormatError("answer", f"status {answer.status}")
    return answer.body


def _connected(address: tuple[str, int]) -> socket.socket:
    """To an address of digits: nothing is resolved."""
    channel = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        channel.settimeout(_EXCHANGE_SECONDS)
        channel.connect(address)
    except OSError:
        channel.close()
        raise
    return channel
