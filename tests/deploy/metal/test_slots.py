"""The rules of a deployment while a machine is tried out: clients are led as before, and nothing of it stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.deployment import Deployment
from pluto_deploy.engine.scene import Generation, Machine
from pluto_deploy.metal import layout, slots, traffic, unit
from pluto_deploy.metal.layout import Slot
from pluto_deploy.metal.seen import Seen

A, B = Slot("shop", "a", 2), Slot("shop", "b", 20)


def deployment(ports: str = "[443]", egress: str = "[]") -> Deployment:
    text = f"""
version = 1
name = "shop"
release = "r"
trust = "t"
policy = "p"
[platform]
kind = "bare-metal"
host = "metal.example"
knownHosts = "k"
tee = "tdx"
machine = "policy"
[size]
cpus = 2
memory = "4G"
[network]
ports = {ports}
egress = {egress}
[notary]
[update]
strategy = "blue-green"
timeout = 60
"""
    return Deployment.parse(text, Path("/"))


def rules(slot: Slot, of: Deployment, *, ipv6: bool) -> str:
    return slots.traffic(of, slot, ipv6=ipv6).content.decode()


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("egress", ["[]", '["udp:123"]', '["udp:123", "tcp:80"]'])
def test_a_machine_that_is_tried_out_goes_out_and_nobody_is_led_to_it(egress: str, ipv6: bool) -> None:
    before = rules(A, deployment(), ipv6=ipv6)
    asked = deployment("[444]", egress)
    tried = slots.let_out(asked, B, before, ipv6=ipv6).content.decode()
    assert tried.startswith(before)
    added = tried.removeprefix(before).splitlines()
    assert len(added) == egress.count(":") * (2 if ipv6 else 1)
    assert all(line.startswith("add element inet pluto egress") for line in added)
    assert slots.let_out(asked, B, tried, ipv6=ipv6).content.decode() == tried, "asked for twice, it is done once"
    assert slots.kept_in("shop", B, tried).content.decode() == before


def test_the_first_machine_goes_out_too() -> None:
    tried = slots.let_out(deployment(egress='["udp:123"]'), A, "").content.decode()
    assert "10.88.0.2 . udp . 0.0.0.0/0 . 123" in tried
    assert " slots " not in tried


def test_a_number_that_begins_like_another_is_not_taken_for_it() -> None:
    served = rules(Slot("shop", "a", 20), deployment(egress='["udp:123"]'), ipv6=True)
    assert slots.kept_in("shop", Slot("shop", "b", 2), served).content.decode() == served


def test_where_rules_lead_clients_is_read_back_from_what_is_written() -> None:
    slot = Slot("shop", "a", 7)
    ports = [("tcp", 443), ("tcp", 8443)]
    assert slots.led(traffic.rules("shop", ports, serving=slot, address=None, egress=())) == [(None, 443), (None, 8443)]
    text = traffic.rules("shop", ports, serving=slot, address="198.51.100.7", egress=[("tcp", 443)])
    assert slots.led(text) == [("198.51.100.7", 443), ("198.51.100.7", 8443)]


class TestWhatIsTidiedAway:
    """Releases and tools that nobody refers to, and nothing that somebody may."""

    OLD, NEW, THEIRS, NOBODYS = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)

    def record(self, release: str) -> Generation:
        return Generation(release, "c" * 64, "5" * 64, "small", 2, 4 << 30, "tdx", "routed")

    def seen(self, *machines: Machine, others: tuple[str, ...], **more: Any) -> Seen:
        known = Seen(
            prepared=None,
            releases=frozenset((self.OLD, self.NEW, self.THEIRS, self.NOBODYS)),
            tools=frozenset(("5" * 64, "6" * 64)),
            partials=(),
            machines=machines,
            enabled=frozenset(),
            serving=None,
            traffic=None,
            rules=(),
            leases={"shop a": 2, "shop b": 20, "other a": 3},
            others=others,
            listening=frozenset(),
            alone=not others,
            free=0,
            memory=0,
        )
        return replace(known, **more)

    def test_what_any_deployment_refers_to_stays(self) -> None:
        theirs = self.record(self.THEIRS).to_text().decode()
        mine = Machine("a", self.record(self.OLD), "stopped"), Machine("b", self.record(self.NEW), "running")
        gone = slots.unused("shop", self.seen(*mine, others=(theirs,)), all_of_it=False)
        assert gone == [layout.image(self.NOBODYS), layout.tools("6" * 64)]

    def test_where_a_record_says_nothing_to_us_it_may_refer_to_anything(self) -> None:
        partial = layout.IMAGES / "x.shop.partial"
        seen = self.seen(others=('{"version": 2}',), partials=(partial,))
        assert slots.unused("shop", seen, all_of_it=False) == [partial]

    def test_the_last_deployment_takes_what_they_shared(self) -> None:
        alone = set(slots.unused("shop", self.seen(others=()), all_of_it=True))
        own = {layout.LEASES / "2", layout.LEASES / "20", layout.domain("shop")}
        assert alone >= {*own, unit.KEEPER.parent, layout.image(self.OLD)}
        others = set(
            slots.unused("shop", self.seen(others=(self.record(self.OLD).to_text().decode(),)), all_of_it=True)
        )
        assert others >= own
        assert others.isdisjoint({unit.KEEPER.parent, layout.image(self.OLD), layout.tools("5" * 64)})
