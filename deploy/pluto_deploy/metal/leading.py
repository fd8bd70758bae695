"""Leads clients to a machine of a host, and lets machines out: one file of nftables rules per deployment.

`slots` and `traffic` say what is in it; this has it in force. A host whose machines have addresses of their own has no
such rules, and nothing here does anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from pluto_deploy.deployment import Deployment
from pluto_deploy.metal import layout, slots
from pluto_deploy.metal.hands import Hands
from pluto_deploy.metal.layout import Slot
from pluto_deploy.metal.prepare import places
from pluto_deploy.metal.seen import Seen
from pluto_deploy.metal.slots import Placed
from pluto_measure.errors import SourceError, UsageError


@dataclass(frozen=True, slots=True)
class Leading:
    """The rules of one deployment on one host. Methods raise UsageError and SourceError; then those that were stay."""

    hands: Hands
    deployment: Deployment
    routed: bool

    def wanted(self, seen: Seen, place: Slot | None, *others: Slot) -> Placed:
        """The rules that lead clients to this machine, if to any."""
        return slots.traffic(self.deployment, place, *others, ipv6=seen.has_ipv6)

    def is_led(self, seen: Seen) -> bool:
        """Whether clients are led as the deployment file asks for, also after the host was booted again."""
        if seen.serving is None:
            return True
        if seen.enabled != {seen.serving}:
            return False
        rules = self.wanted(seen, seen.slot(self.deployment.name, seen.serving)).content.decode().strip()
        return not self.routed or rules == seen.traffic

    def lead(self, place: Slot, seen: Seen) -> None:
        """Lead clients to this machine."""
        self._put(self.wanted(seen, place), seen)

    def let_out(self, place: Slot, seen: Seen) -> None:
        """Before a start: the machine may go where it may go, as it may need the time of day before it is ready.

        Where it served before, clients are kept away until it was appraised again and is led to.
        """
        if seen.serving == place.letter:
            self._put(self.wanted(seen, None, place), seen)
        elif self.deployment.network.egress:
            self._put(slots.let_out(self.deployment, place, seen.traffic or "", ipv6=seen.has_ipv6), seen)

    def keep_in(self, place: Slot, seen: Seen) -> None:
        """The contrary, for a machine that was stopped."""
        if seen.serving != place.letter and seen.traffic:
            wanted = slots.kept_in(self.deployment.name, place, seen.traffic)
            if wanted.content.decode().strip() != seen.traffic:
                self._put(wanted, seen)

    def close(self) -> None:
        """Lead nobody anywhere."""
        self.hands.remove([layout.traffic(self.deployment.name)])
        self._reload()

    def refuse(self, placed: Placed, seen: Seen) -> None:
        """Try rules out with those of everybody else: a file that cannot be loaded would keep all others from it."""
        if not self.routed:
            return
        connection = self.hands.connection
        includes = "".join(f'include "{path}"\n' for path in (places.BASE_RULES, *seen.rules))
        answer = connection.run(["nft", "-c", "-f", "-"], data=includes.encode() + placed.content)
        if answer.code and "File exists" in answer.errors:
            ports = ", ".join(map(str, self.deployment.network.ports))
            raise UsageError(f"{connection.login}: another deployment has port {ports}, or one of these")
        if answer.code:
            said = answer.errors.partition("\n")[0] or f"exit code {answer.code}"
            raise SourceError(f"{connection.login}: nft does not take the rules: {said}")

    def _put(self, placed: Placed, seen: Seen) -> None:
        """Loaded even where the file is the same: whoever wrote it may have been killed before he loaded it."""
        if self.routed:
            self.refuse(placed, seen)
            self.hands.write([placed])
            self._reload()

    def _reload(self) -> None:
        if self.routed:
            self.hands.systemctl("reload-or-restart", "pluto-traffic.service")
