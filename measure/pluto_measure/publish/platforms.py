"""What a release says of each machine that it was measured for, from the profile of measurements.json. Pure.

The builder writes these and the verifier computes them again: a statement whose registers are not those of the
measurements.json beside it is refused.
"""

from __future__ import annotations

from typing import Any, Final

from pluto_measure.errors import FormatError
from pluto_measure.measurements import Profile
from pluto_measure.predict.media import MEDIA

PROVIDERS: Final = {  # of the platforms that a release may be for
    "qemu-tdx": "bare-metal-qemu",
    "gcp-tdx": "gcp",
    "azure-tdx": "azure",
    "gcp-confidential-space": "gcp-confidential-space",
}
_SHAPE: Final = ("vmm", "vmmVersion", "machineType", "boot", "cpus", "memory", "devices", "secureBoot")


def described(profile: Profile) -> dict[str, Any]:
    """One member of `platforms`. FormatError for a software TPM, whose values never enter a release."""
    if profile.platform not in PROVIDERS:
        raise FormatError("measurements.json", f"{profile.id!r} is a {profile.platform}, which no release vouches for")
    inputs = profile.inputs
    firmware = inputs.get("firmware")
    found = firmware if isinstance(firmware, dict) else {}
    digests = {name: found[name] for name in ("sha256", "sha384") if name in found}  # of a cloud's, perhaps one alone
    return {
        "id": profile.id,
        "tee": "tdx",
        "platform": profile.platform,
        "provider": PROVIDERS[profile.platform],
        "shape": {name: inputs[name] for name in _SHAPE if name in inputs},
        "firmware": digests or None,
        "registers": {name: profile.registers[name].to_json() for name in MEDIA[profile.platform].all},
        "claims": dict(profile.claims),
    }
