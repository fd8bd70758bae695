"""Where the notary may connect: against IANA's blocks, Python's own view, and every disguise of an address."""

from __future__ import annotations

import contextlib
import ipaddress
import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_notary.fetch import egress
from pluto_notary.fetch.egress import EgressRules, check_addresses, check_target, is_allowed
from pluto_notary.fetch.errors import TargetError

RULES = EgressRules()
PRIVATE = EgressRules(insecure_allow_private=True)
FORBIDDEN = [ipaddress.ip_network(block) for block in (*egress.SPECIAL, *egress.PRIVATE, *egress.METADATA)]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "64:ff9b::808:808"]
V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)


def embeddings(inner: ipaddress.IPv4Address) -> list[ipaddress.IPv6Address]:
    """The IPv6 addresses that carry this IPv4 address, by each mechanism that there is."""
    number = int(inner)
    return [
        ipaddress.IPv6Address(number),  # compatible, RFC 4291, section 2.5.5.1
        ipaddress.IPv6Address(0xFFFF << 32 | number),  # mapped, section 2.5.5.2
        ipaddress.IPv6Address(0xFFFF << 48 | number),  # translated, RFC 2765
        ipaddress.IPv6Address(0x2002 << 112 | number << 80 | 1),  # 6to4, RFC 3056
        ipaddress.IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | (number ^ 0xFFFFFFFF)),  # Teredo, RFC 4380
        ipaddress.IPv6Address(0x20010000 << 96 | number << 64 | 0xF7F7F7F7),
        ipaddress.IPv6Address(0x0064FF9B << 96 | number),  # NAT64, RFC 6052
        ipaddress.IPv6Address(0x0064FF9B0001 << 80 | number),  # NAT64, local use, RFC 8215
        ipaddress.IPv6Address(0x26064700 << 96 | 0x5EFE << 32 | number),  # ISATAP, RFC 5214
        ipaddress.IPv6Address(0x26064700 << 96 | 0x02005EFE << 32 | number),
    ]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(address, RULES)


@pytest.mark.parametrize("block", FORBIDDEN, ids=str)
def test_both_ends_of_each_forbidden_block_and_what_lies_between_are_refused(
    block: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> None:
    inside = [block[0], block[-1], block[random.Random(7).randrange(block.num_addresses)]]
    assert not any(is_allowed(str(address), RULES) for address in inside)


def test_weakness_04_ssrf_the_metadata_services_are_out_of_reach_whatever_the_rules() -> None:
    rules = EgressRules(insecure_allow_private=True, allow_literals=True)
    assert {"169.254.169.254", "fd00:ec2::254", "168.63.129.16", "fd20:ce::254"} <= set(egress.METADATA)
    for address in egress.METADATA:
        assert not is_allowed(address, rules)
        parsed = ipaddress.ip_address(address)
        if isinstance(parsed, ipaddress.IPv4Address):
            assert not any(is_allowed(str(each), rules) for each in embeddings(parsed))


@given(V4)
def test_no_ipv4_address_is_allowed_that_python_does_not_call_global(address: ipaddress.IPv4Address) -> None:
    if is_allowed(str(address), RULES):
        assert address.is_global
        assert not any((address.is_multicast, address.is_reserved, address.is_private, address.is_link_local))
    else:
        assert any(address in block for block in FORBIDDEN)


@given(V6 | st.integers(0x2000 << 112, (0x4000 << 112) - 1).map(ipaddress.IPv6Address))
def test_no_ipv6_address_is_allowed_that_python_does_not_call_global(address: ipaddress.IPv6Address) -> None:
    if is_allowed(str(address), RULES):
        assert address.is_global
        assert not any((address.is_multicast, address.is_site_local, address.is_private, address.is_link_local))
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None
    else:
        outside = address not in ipaddress.ip_network("2000::/3")
        assert outside or any(address in block for block in FORBIDDEN) or int(address) >> 32 & 0xFDFFFFFF == 0x5EFE


@given(V4 | st.sampled_from(FORBIDDEN).filter(lambda block: block.version == 4).map(lambda block: block[-1]))
def test_an_address_within_another_is_never_allowed_where_it_would_not_be_by_itself(
    inner: ipaddress.IPv4Address,
) -> None:
    alone = is_allowed(str(inner), RULES)
    allowed = [each for each in embeddings(inner) if is_allowed(str(each), RULES)]
    assert allowed == ([ipaddress.IPv6Address(0x0064FF9B << 96 | int(inner))] if alone else [])


@pytest.mark.parametrize(
    "address", ["", "1.1.1", "fe80::1%eth0", "2606:4700::1%0", "01.1.1.1", "0x1.1.1.1", "1.1.1.1\n"]
)
def test_what_is_no_plain_address_is_not_allowed(address: str) -> None:
    assert not is_allowed(address, RULES)


def test_the_insecure_switch_admits_loopback_and_private_addresses_and_nothing_else() -> None:
    for block, address in product(FORBIDDEN, (0, -1)):
        admitted = is_allowed(str(block[address]), PRIVATE)
        assert admitted == (str(block) in egress.PRIVATE)
    assert not is_allowed("::", PRIVATE)
    assert not is_allowed("::ffff:127.0.0.1", PRIVATE)


@pytest.mark.parametrize("forbidden", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fd00::1"])
def test_one_forbidden_address_refuses_the_whole_answer(forbidden: str) -> None:
    for answer in (["8.8.8.8", forbidden], [forbidden, "8.8.8.8"], [forbidden]):
        with pytest.raises(TargetError, match="egress"):
            check_addresses(answer, RULES)
    check_addresses(["8.8.8.8", "2606:4700:4700::1111"], RULES)


@pytest.mark.parametrize("answer", [[], ["not an address"], [""]])
def test_an_answer_without_addresses_is_none(answer: list[str]) -> None:
    with pytest.raises(TargetError, match="resolve"):
        check_addresses(answer, RULES)


@pytest.mark.parametrize("port", [0, 22, 80, 8080, 8443, 65536, -443])
def test_only_allowed_ports_are_connected(port: int) -> None:
    with pytest.raises(TargetError, match="egress"):
        check_target("site.example", port, RULES)
    check_target("site.example", 8443, EgressRules(ports=frozenset({443, 8443})))


@pytest.mark.parametrize(
    "host",
    [
        "site.example",
        "a.b.c.example",
        "xn--bcher-kva.example",
        "3com.com",
        "x.xn--p1ai",
        "a-b.example",
        "1.2.3.example",
    ],
)
def test_public_names_are_taken(host: str) -> None:
    check_target(host, 443, RULES)


@pytest.mark.parametrize(
    "host",
    [
        "", ".", "site.example.", ".site.example", "site..example", "Site.example", "localhost", "intranet",
        "a.localhost", "metadata.google.internal", "printer.local", "x.home.arpa", "x.onion", "x.alt",
        "under_score.example", "-a.example", "a-.example", "site.example:443", "user@site.example", "site.example/x",
        "bücher.example", "xn--bücher.example", "xn--.example", "xn--abc-.example", "xn--bcher-KVA.example",
        "ab--cd.example", f"{'a' * 64}.example", ".".join(["abcdefgh"] * 29) + ".example", "site.example\0",
        "127.1", "0x7f.1", "2130706433", "127.0.0.1", "0177.0.0.1", "1.1.1.1", "::1", "[::1]", "[::ffff:10.0.0.1]",
        "2606:4700:4700::1111", "site.c", "site.e1", "site.example%00", "a.1.2.3", "site.exam\u00adple",
        "site。example", "site .example", "site.example\n",
    ],
)  # fmt: skip
def test_every_other_spelling_of_a_host_is_refused(host: str) -> None:
    with pytest.raises(TargetError, match="egress"):
        check_target(host, 443, RULES)


def test_addresses_as_hosts_are_taken_only_if_that_is_allowed_and_in_their_one_spelling() -> None:
    rules = EgressRules(allow_literals=True)
    check_target("1.1.1.1", 443, rules)
    check_target("2606:4700:4700::1111", 443, rules)
    for host in ("2606:4700:4700:0::1111", "::FFFF:1.1.1.1", "[2606:4700:4700::1111]", "1.1", "fe80::1%1"):
        with pytest.raises(TargetError, match="egress"):
            check_target(host, 443, rules)


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_refused(host: str) -> None:
    with contextlib.suppress(TargetError):
        check_target(host, 443, RULES)
        assert host.isascii()
        assert host == host.lower().strip()
        assert "." in host
