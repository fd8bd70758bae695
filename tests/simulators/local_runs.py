"""One local machine, started and attested through the gate, without an engine around it: for tests of machines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256

from pluto_deploy.engine.gate import Gate
from pluto_deploy.engine.policy import local_policy
from pluto_deploy.engine.scene import Generation
from pluto_deploy.engine.target import Address
from pluto_deploy.engine.wish import Expected
from pluto_deploy.local import power
from pluto_deploy.local.power import Order
from pluto_deploy.local.state import Record, StateFolder
from pluto_image.tools import ToolsTree
from pluto_measure.appraise import Appraisal
from pluto_measure.digests import Digests
from pluto_measure.errors import RefusedError, VerificationError
from pluto_measure.progress import Silent


@dataclass(frozen=True)
class Started:
    """An attested machine. `seconds`: from power-on to each thing reached."""

    record: Record
    appraisal: Appraisal
    seconds: dict[str, float]


def expected(order: Order) -> Expected:
    """What the order's machine must be, computed from its build."""
    dist, shape = order.dist, order.machine
    digest = sha256(order.payload).digest()
    generation = Generation("0" * 64, digest.hex(), "", "local", shape.cpus, shape.memory, "insecure_none", "local")
    policy = local_policy(config_digest=digest, allow_debug=dist.launch.flavour == "debug")
    platform = shape.platform(Digests.of(dist.firmware.read_bytes()))
    return Expected(generation, platform, power.reference(dist, shape), policy, None)


def start(
    order: Order,
    tools: ToolsTree,
    folder: StateFolder,
    judge: Callable[[Order], Expected] = expected,
) -> Started:
    """Start and attest; whatever goes wrong, nothing is left running."""
    wanted = judge(order)
    with folder.lock() as lock:
        order = replace(order, port=power.free_port(order.port))
        begun = time.monotonic()
        record = power.power_on(order, tools, folder, lock)
        state = "failed"
        try:
            seconds = power.wait_ready(order.timeout, folder, record, begun, Silent())
            patience = max(1.0, order.timeout - (time.monotonic() - begun))
            appraisal = Gate(expected=wanted, patience=patience)(Address(power.HOST, record.port))
            seconds["attested"] = round(time.monotonic() - begun, 2)
            record, state = replace(record, state="running"), "running"
            folder.write(record)
            return Started(record, appraisal, seconds)
        except (RefusedError, VerificationError):
            state = "refused"
            raise
        finally:
            if state != "running":
                power.power_off(folder, record, state)
