"""What is known of Hetzner's servers as TDX hosts: nothing good yet. Pure facts, each with its source.

No server of Hetzner's is known to run trust domains; none was tried for this project. A report is what somebody wrote
in public. What is confirmed says whether Intel or the provider stands behind it.
"""

from __future__ import annotations

from typing import Final

from pluto_deploy.metal.profiles import Profile, Report

NAMED: Final = Report(
    machines="Hetzner DX293 (Dell, 2 × Xeon Gold 6438Y+, Sapphire Rapids)",
    processor="6438Y+",
    reported="TDX cannot be switched on",
    by="an owner of one, in issue 398 of github.com/intel/tdx-tools, July 2023",
    confirmed="no, no word of Intel's or Hetzner's on it is known",
)
GENERATION: Final = Report(
    machines="Sapphire Rapids (4th-generation Xeon)",
    model=143,
    reported="most parts have no TDX outside the large clouds",
    by="the same user, in issue 399 of github.com/intel/tdx-tools, July 2023",
    confirmed="in part, Ubuntu's documentation counts selected parts of this generation only and names none",
)
PROFILE: Final = Profile(
    name="hetzner",
    provider="Hetzner",
    reports=(NAMED, GENERATION),
    unknown="nobody has reported on TDX with this model at Hetzner, neither that it works nor that it does not",
)
