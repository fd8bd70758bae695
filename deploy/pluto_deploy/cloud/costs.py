"""What of a deployment is there and is paid for, in any cloud. Pure; prices depend on region and contract."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """One thing that is billed.

    what   its kind and name, with its size where that decides
    where  zone, region or resource group, and the state that the cloud says it is in
    why    it is there, and for what of it is paid
    until  what ends that
    """

    what: str
    where: str
    why: str
    until: str

    def __str__(self) -> str:
        return f"{self.what} ({self.where}): {self.why}; until {self.until}"

    def to_json(self) -> dict[str, str]:
        return {"what": self.what, "where": self.where, "why": self.why, "until": self.until}
