"""What a host should be, decided from what is wanted and what was seen; and the files that say so."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from pluto_deploy.metal import layout
from pluto_deploy.metal.prepare import files, places
from pluto_deploy.metal.prepare.options import Archive, LocalPccs, Network, Options, RemotePccs
from pluto_deploy.metal.prepare.preparation import Placed, Preparation
from pluto_deploy.metal.prepare.record import Record
from pluto_deploy.metal.prepare.sight import Sight
from pluto_deploy.metal.prepare.wanted import QUOTE_PACKAGES, wanted
from pluto_measure.errors import FormatError, RefusedError

SEEN = Sight(
    uplink="eth0",
    interfaces={"eth0": False, "lo": False, "br0": True},
    networks=(("eth0", "198.51.100.2/26"),),
    grub=True,
    tools=(),
    prepared=None,
    ufw=False,
    drops=(),
    system=("ubuntu", "26.04"),
    parameters=("ro", "nohibernate", "kvm_intel.tdx=1"),
)
KEY = "0123456789abcdef0123456789abcdef"
ROUTED = Options(pccs=LocalPccs(KEY))
BRIDGE = Options(pccs=RemotePccs("https://pccs.example/"), network=Network("bridge", "br0"))
MACVTAP = replace(BRIDGE, network=Network("macvtap", "eth0"))
ARCHIVE = Archive("https://archive.example/sgx", "noble", ("main",), b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
TOOLS = "ab" * 32


def refusal(options: Options, sight: Sight) -> str:
    with pytest.raises(RefusedError) as caught:
        wanted(options, sight)
    return str(caught.value)


def text(files: tuple[Placed, ...], path: str | PurePosixPath) -> str:
    return next(one.content for one in files if one.path == str(path)).decode()


def every_file(preparation: Preparation) -> tuple[Placed, ...]:
    sets = (preparation.archive, preparation.kernel, preparation.modules, preparation.quotes, preparation.pccs)
    return (*sum(sets, ()), *preparation.network, *preparation.firewall, *preparation.journal, preparation.record)


class TestRefusals:
    @pytest.mark.parametrize("release", ["26.04", "25.10"])
    def test_two_systems_are_known(self, release: str) -> None:
        assert wanted(ROUTED, replace(SEEN, system=("ubuntu", release)))

    @pytest.mark.parametrize("system", [("ubuntu", "24.04"), ("debian", "13"), (None, None), ("ubuntu", None)])
    def test_no_other(self, system: tuple[str | None, str | None]) -> None:
        assert "Ubuntu 26.04 and Ubuntu 25.10" in refusal(ROUTED, replace(SEEN, system=system))

    def test_not_even_for_tests(self) -> None:
        assert refusal(Options(insecure_no_tdx=True), replace(SEEN, system=("debian", "13")))

    def test_a_bridge_must_be_one(self) -> None:
        assert "no interface br0" in refusal(BRIDGE, replace(SEEN, interfaces={"eth0": False}))
        assert "not a bridge" in refusal(replace(BRIDGE, network=Network("bridge", "eth0")), SEEN)

    def test_an_uplink_must_be_there(self) -> None:
        assert "no default route" in refusal(ROUTED, replace(SEEN, uplink=None))
        assert "no interface eth7" in refusal(replace(ROUTED, uplink="eth7"), SEEN)
        assert wanted(replace(ROUTED, uplink="eth0"), replace(SEEN, uplink=None))

    def test_the_network_of_trust_domains_must_be_free(self) -> None:
        taken = replace(SEEN, networks=(("podman0", "10.88.0.1/16"),))
        assert "podman0 has 10.88.0.1/16" in refusal(ROUTED, taken)
        assert wanted(BRIDGE, taken)
        assert wanted(ROUTED, replace(SEEN, networks=((layout.BRIDGE, "10.88.0.1/24"),)))

    def test_the_network_of_a_host_stays(self) -> None:
        before = replace(SEEN, prepared=Record("routed", "tdx"))
        assert wanted(ROUTED, before)
        assert "prepared with --network routed, not bridge:br0" in refusal(BRIDGE, before)

    def test_hetzners_switch(self) -> None:
        assert wanted(replace(ROUTED, profile="hetzner"), SEEN)
        assert "drops frames" in refusal(replace(BRIDGE, profile="hetzner"), SEEN)

    def test_a_kernel_that_lacks_words_and_no_boot_loader_to_tell(self) -> None:
        assert "no GRUB" in refusal(ROUTED, replace(SEEN, grub=False, parameters=()))
        assert wanted(ROUTED, replace(SEEN, grub=False)).kernel == ()


class TestKernel:
    def test_nothing_is_missing(self) -> None:
        found = wanted(replace(ROUTED, reboot=True), SEEN)
        assert (found.missing, found.reboot, found.notes) == ((), False, ())

    def test_a_reboot_only_if_allowed(self) -> None:
        sight = replace(SEEN, parameters=("nohibernate",))
        found = wanted(ROUTED, sight)
        assert (found.missing, found.reboot) == (("kvm_intel.tdx=1",), False)
        assert found.notes[0].startswith("reboot needed: the running kernel lacks kvm_intel.tdx=1")
        allowed = wanted(replace(ROUTED, reboot=True), sight)
        assert (allowed.reboot, allowed.notes) == (True, ())

    def test_the_drop_in_adds_to_what_others_say(self) -> None:
        line = text(wanted(ROUTED, SEEN).kernel, "/etc/default/grub.d/60-pluto.cfg").splitlines()[-1]
        assert line == 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX nohibernate kvm_intel.tdx=1"'


class TestQuotes:
    def test_packages_by_where_certificates_come_from(self) -> None:
        local, remote = wanted(ROUTED, SEEN), wanted(BRIDGE, SEEN)
        assert set(QUOTE_PACKAGES) <= set(remote.packages)
        assert "sgx-dcap-pccs" in local.packages
        assert "sgx-dcap-pccs" not in remote.packages
        assert not [one for one in local.packages if "qemu" in one or "ovmf" in one]
        assert set(QUOTE_PACKAGES) <= set(local.held) <= set(local.packages)

    def test_qgs_has_no_port(self) -> None:
        lines = text(wanted(ROUTED, SEEN).quotes, "/etc/qgs.conf").splitlines()
        assert [line for line in lines if not line.startswith("#")] == ["number_threads = 4"]

    def test_qgs_cannot_open_vsock_even_if_told(self) -> None:
        drop_in = text(wanted(ROUTED, SEEN).quotes, "/etc/systemd/system/qgsd.service.d/zz-pluto.conf")
        assert "RestrictAddressFamilies=~AF_VSOCK" in drop_in
        assert "chmod 0710 /var/run/tdx-qgs" in drop_in
        after = [line for line in drop_in.splitlines() if line.startswith("ExecStartPost=")]
        assert [line.partition(" /bin/sh")[0] for line in after] == [
            "ExecStartPost=+/usr/bin/setpriv --reuid=qgsd --regid=pluto-qgs --clear-groups --no-new-privs"
        ]

    @pytest.mark.parametrize(
        ("options", "url", "secure"),
        [(ROUTED, "https://localhost:8081/sgx/certification/v4/", False), (BRIDGE, "https://pccs.example/", True)],
    )
    def test_only_this_hosts_own_pccs_may_vouch_for_itself(self, options: Options, url: str, secure: bool) -> None:
        lines = text(wanted(options, SEEN).quotes, "/etc/sgx_default_qcnl.conf").splitlines()
        found = json.loads("\n".join(line for line in lines if not line.startswith("//")))
        assert (found["pccs_url"], found["use_secure_cert"]) == (url, secure)

    def test_the_pccs_listens_to_this_host_and_keeps_its_key(self) -> None:
        found = wanted(ROUTED, SEEN)
        (settings,) = found.pccs
        assert (settings.owner, settings.group, settings.mode) == ("pccs", "pccs", 0o640)
        members = json.loads(settings.content)
        assert (members["hosts"], members["ApiKey"]) == ("127.0.0.1", KEY)
        assert KEY not in repr(found)
        assert [one.path for one in every_file(found) if KEY.encode() in one.content] == [settings.path]

    def test_a_host_for_tests_has_none_of_it(self) -> None:
        found = wanted(Options(insecure_no_tdx=True), replace(SEEN, parameters=(), grub=False))
        assert (found.quotes, found.pccs, found.kernel, found.held, found.missing) == ((), (), (), (), ())
        assert not set(QUOTE_PACKAGES) & set(found.packages)
        assert found.notes == ("insecure: this host runs no trust domains; who has it sees what its machines do",)
        assert Record.parse(found.record.content).tee == "insecure_none"

    def test_the_archive_gives_packages_for_quotes_alone(self) -> None:
        found = wanted(replace(ROUTED, archive=ARCHIVE), SEEN).archive
        sources, pins = text(found, files.SOURCES), text(found, "/etc/apt/preferences.d/pluto-quotes")
        assert "Signed-By: /etc/apt/keyrings/pluto-quotes.asc" in sources.splitlines()
        assert not re.search(r"(?i)trusted|insecure", sources)
        assert pins.count('Pin: origin "archive.example"') == 2
        assert 'Package: *\nPin: origin "archive.example"\nPin-Priority: -1\n' in pins
        binary = wanted(replace(ROUTED, archive=replace(ARCHIVE, key=b"\x99\x01")), SEEN).archive
        assert "pluto-quotes.gpg" in text(binary, files.SOURCES)


class TestNetwork:
    def test_routed_has_a_bridge_and_a_server_of_addresses(self) -> None:
        options = replace(ROUTED, resolvers=("9.9.9.9", "2620:fe::fe"), ipv6=True, addresses=("203.0.113.9",))
        end = text(wanted(options, SEEN).network, "/etc/systemd/network/50-pluto0.network").splitlines()
        for line in ("Address=10.88.0.1/24", "Address=fd00:88::1/64", "Address=203.0.113.9/32", "DNS=9.9.9.9"):
            assert line in end
        assert [line for line in end if line.startswith("DNS=")] == ["DNS=9.9.9.9", "DNS=2620:fe::fe"]
        assert "IPv6SendRA=yes" in end

    def test_no_address_of_the_hosts_is_asked_for(self) -> None:
        options = replace(ROUTED, ipv6=True, addresses=("203.0.113.9", "2001:db8::9"))
        end = text(wanted(options, SEEN).network, "/etc/systemd/network/50-pluto0.network")
        addresses = [part for part in end.split("\n\n") if "Address=" in part and "[Neighbor]" not in part]
        assert [part.splitlines()[-3:] for part in addresses] == [
            ["[Address]", f"Address={own}", "DuplicateAddressDetection=none"]
            for own in ("10.88.0.1/24", "fd00:88::1/64", "203.0.113.9/32", "2001:db8::9/128")
        ]

    def test_without_ipv6_nobody_is_told_of_a_router(self) -> None:
        end = text(wanted(ROUTED, SEEN).network, "/etc/systemd/network/50-pluto0.network").splitlines()
        assert "IPv6SendRA=no" in end
        assert "EmitDNS=no" in end
        assert not [line for line in end if line.startswith("[IPv6")]
        unit = text(wanted(ROUTED, SEEN).firewall, layout.UNITS / places.FORWARDING_SERVICE)
        assert re.findall(r"ipv6/conf/(\w+/\w+)", unit) == ["pluto0/accept_dad"]

    def test_forwarding_is_for_the_bridge_and_the_uplink_alone(self) -> None:
        unit = text(wanted(replace(ROUTED, uplink="br0"), SEEN).firewall, layout.UNITS / places.FORWARDING_SERVICE)
        on = [line for line in unit.splitlines() if "echo 1 >" in line]
        assert re.findall(r"conf/([a-z0-9]+)/forwarding", "".join(on)) == ["pluto0", "br0"]
        assert f"Requires={places.TRAFFIC_SERVICE}" in unit

    def test_other_modes_have_no_bridge_of_ours(self) -> None:
        bridge, macvtap = wanted(BRIDGE, SEEN), wanted(MACVTAP, SEEN)
        assert [one.path for one in bridge.network] == ["/etc/systemd/network/50-pluto-taps.network"]
        assert "table inet pluto\n" not in text(bridge.firewall, places.BASE_RULES)
        assert "table bridge pluto" in text(bridge.firewall, places.BASE_RULES)
        assert (macvtap.network, macvtap.firewall) == ((), ())
        assert not [one for one in bridge.folders if one.path == str(layout.TRAFFIC)]
        for found in (bridge, macvtap):
            assert "filters nothing" in found.notes[0]

    def test_ufw_is_told_to_leave_the_decision_to_our_rules(self) -> None:
        active = replace(SEEN, ufw=True, drops=("ip filter FORWARD", "ip6 filter FORWARD"))
        found = wanted(ROUTED, active)
        assert [rule.split()[0] for rule in found.ufw] == ["route", "route", "allow"]
        assert found.notes == ()
        assert wanted(BRIDGE, active).ufw == ()
        assert "chain ip filter FORWARD" in wanted(ROUTED, replace(active, ufw=False)).notes[0]

    def test_a_machines_ipv6_address_follows_from_its_mac(self) -> None:
        # RFC 4291, appendix A: the universal bit is turned, ff:fe goes in the middle.
        assert str(places.address6(2)) == "fd00:88::5054:ff:fe88:2"
        assert len({places.address6(number) for number in range(2, 251)}) == 249


class TestEveryBoot:
    def test_locks_are_roots_alone(self) -> None:
        found = wanted(ROUTED, SEEN)
        assert [one.mode for one in found.folders if one.path == "/run/lock/pluto"] == [0o700]
        lines = text(found.modules, "/etc/tmpfiles.d/pluto.conf").splitlines()
        assert lines[1:] == ["d /run/pluto 0755 root root -", "d /run/lock/pluto 0700 root root -"]

    def test_modules_and_who_may_open_what(self) -> None:
        found = wanted(ROUTED, SEEN).modules
        assert text(found, "/etc/modules-load.d/pluto.conf").splitlines()[1:] == ["tun", "vhost_net"]
        assert text(found, "/etc/udev/rules.d/60-pluto.rules").splitlines()[1:] == [
            'KERNEL=="kvm", GROUP="kvm", MODE="0660", OPTIONS+="static_node=kvm"',
            'KERNEL=="vhost-net", GROUP="kvm", MODE="0660", OPTIONS+="static_node=vhost-net"',
            'KERNEL=="sgx_provision", GROUP="sgx_prv", MODE="0660"',
        ]
        emulated = wanted(Options(insecure_no_tdx=True), SEEN).modules
        assert "sgx" not in text(emulated, "/etc/udev/rules.d/60-pluto.rules")


class TestRecord:
    def test_it_says_what_was_made(self) -> None:
        options = replace(ROUTED, resolvers=("9.9.9.9",), profile="hetzner")
        found = Record.parse(wanted(options, replace(SEEN, tools=("cd" * 32,)), tools=TOOLS).record.content)
        assert found == Record("routed", "tdx", False, (), ("9.9.9.9",), "hetzner", (TOOLS, "cd" * 32))
        assert Record.parse(found.to_text()) == found

    def test_putting_tools_there_again_changes_nothing(self) -> None:
        first = wanted(ROUTED, SEEN, tools=TOOLS).record
        assert wanted(ROUTED, replace(SEEN, tools=(TOOLS,))).record == first

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"version": 1', '"version": 2'),
            ('"routed"', '"nat"'),
            ('"tdx"', '"sev"'),
            (TOOLS, "xyz"),
            ('"ipv6"', '"IPv6"'),
            ("{", "["),
        ],
    )
    def test_anything_else_is_a_format_error(self, old: str, new: str) -> None:
        text = Record("routed", "tdx", tools=(TOOLS,)).to_text()
        with pytest.raises(FormatError):
            Record.parse(text.replace(old, new))


@pytest.mark.parametrize("options", [replace(ROUTED, archive=ARCHIVE), BRIDGE, MACVTAP, Options(insecure_no_tdx=True)])
def test_the_worker_gets_the_very_preparation(options: Options) -> None:
    found = wanted(options, SEEN)
    assert Preparation.from_json(json.loads(json.dumps(found.to_json()))) == found
