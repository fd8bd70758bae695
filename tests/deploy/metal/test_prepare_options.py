"""What an operator may ask of a host: strictly read, and never shown where it is secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_deploy.metal.prepare import options
from pluto_deploy.metal.prepare.options import Archive, ArchiveFile, LocalPccs, Network, Options, RemotePccs
from pluto_measure.errors import FormatError, UsageError

ARMOURED = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n"
ARCHIVE = 'uri = "https://archive.example/sgx"\nsuite = "noble"\ncomponents = ["main"]\nkey = "key.asc"\n'
PCCS = RemotePccs("https://pccs.example/")


class TestNetwork:
    @pytest.mark.parametrize("text", ["routed", "bridge:br0", "macvtap:enp1s0f0np0", "bridge:br.100", "macvtap:a"])
    def test_a_mode_has_one_spelling(self, text: str) -> None:
        assert str(Network.parse(text)) == text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "Routed",
            "routed:",
            "routed:eth0",
            "bridge",
            "bridge:",
            "bridge:a b",
            "macvtap:../x",
            "bridge:-x",
            "bridge:sixteen-letters-x",
            "nat:eth0",
            "bridge:eth0\n",
            "bridge:a;b",
            "bridge:a/b",
        ],
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError):
            Network.parse(text)


class TestArchive:
    def test_a_file_names_it(self) -> None:
        found = ArchiveFile.parse(ARCHIVE.encode())
        assert found == ArchiveFile("https://archive.example/sgx", "noble", ("main",), "key.asc")
        assert found.with_key(ARMOURED).armoured
        assert not found.with_key(b"\x99\x01rest").armoured
        assert found.with_key(ARMOURED).origin == "archive.example"

    def test_a_flat_archive_has_no_components(self) -> None:
        text = ARCHIVE.replace('"noble"', '"ubuntu/noble/"').replace('["main"]', "[]")
        assert ArchiveFile.parse(text.encode()).components == ()

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("https:", "ftp:"),
            ("archive.example/sgx", "archive.example/a b"),
            ("archive.example/sgx", "archive.example/\\nTrusted: yes"),
            ('"noble"', '"noble\\nTrusted: yes"'),
            ('"noble"', '"noble/"'),
            ('["main"]', "[]"),
            ('["main"]', '["main [trusted=yes]"]'),
            ('["main"]', "[1]"),
            ('["main"]', '"main"'),
            ('"key.asc"', '""'),
            ('key = "key.asc"\n', ""),
            ('key = "key.asc"', 'key = "key.asc"\ntrusted = true'),
            ("uri", "url"),
        ],
    )
    def test_what_could_say_more_than_meant_is_refused(self, old: str, new: str) -> None:
        with pytest.raises(FormatError):
            ArchiveFile.parse(ARCHIVE.replace(old, new).encode())

    @pytest.mark.parametrize("key", [b"", b"<html>", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n"])
    def test_a_key_that_is_none_is_refused(self, key: bytes) -> None:
        with pytest.raises(FormatError, match=r"key\.asc is not an OpenPGP public key"):
            ArchiveFile.parse(ARCHIVE.encode()).with_key(key)

    @given(st.binary(max_size=300))
    def test_any_bytes_are_an_archive_or_a_format_error(self, data: bytes) -> None:
        try:
            ArchiveFile.parse(data)
        except FormatError:
            return


class TestPccs:
    def test_the_key_is_one_line_and_never_shown(self) -> None:
        pccs = LocalPccs.parse(b"0123456789abcdef0123456789abcdef\n")
        assert pccs.api_key == "0123456789abcdef0123456789abcdef"
        assert pccs.api_key not in repr(pccs)
        assert pccs.api_key not in repr(Options(pccs=pccs))

    @pytest.mark.parametrize("text", [b"", b"short", b"two keys 0123456789abcdef", b"\xff" * 32, b'0123456789abcdef"'])
    def test_what_is_no_key_is_refused_and_not_shown(self, text: bytes) -> None:
        with pytest.raises(UsageError) as caught:
            LocalPccs.parse(text)
        assert "0123456789" not in str(caught.value)

    def test_an_address_ends_with_a_slash(self) -> None:
        assert RemotePccs.parse("https://pccs.example:8081/sgx/certification/v4").url.endswith("/v4/")

    @pytest.mark.parametrize(
        "url",
        [
            "http://pccs.example/",
            "pccs.example",
            "https://",
            "https://u:p@pccs.example/",
            "https://h/?q",
            "https://h/#f",
            'https://h/"',
            "https://h/ x",
            "https://h/\n",
            "https://[::1",
            "https://h/\\",
        ],
    )
    def test_an_address_that_is_not_plain_https_is_refused(self, url: str) -> None:
        with pytest.raises(UsageError):
            RemotePccs.parse(url)


class TestAddresses:
    @pytest.mark.parametrize("text", ["198.51.100.7", "2001:db8::7", "10.1.2.3"])
    def test_an_address(self, text: str) -> None:
        assert options.public_address(text) == text

    def test_an_address_has_one_spelling(self) -> None:
        assert options.public_address("2001:0DB8:0::07") == "2001:db8::7"

    @pytest.mark.parametrize(
        "text",
        [
            "127.0.0.1",
            "169.254.169.254",
            "224.0.0.1",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "fe80::1%eth0",
            "::",
            "host",
            "198.51.100.0/24",
            "2001:db8::1%x",
            "",
        ],
    )
    def test_what_is_no_address_of_a_host_or_a_resolver(self, text: str) -> None:
        with pytest.raises(UsageError):
            options.public_address(text)
        with pytest.raises(UsageError):
            options.resolver(text)

    def test_three_resolvers_are_the_most(self) -> None:
        assert options.resolvers(["9.9.9.9", "10.0.0.53", "1.1.1.1"]) == ("9.9.9.9", "10.0.0.53", "1.1.1.1")
        with pytest.raises(UsageError, match="more than 3"):
            options.resolvers(["9.9.9.9"] * 4)


class TestOptions:
    def test_a_host_with_tdx_says_where_certificates_come_from(self) -> None:
        assert Options(pccs=PCCS).insecure_no_tdx is False
        with pytest.raises(UsageError, match="--pccs"):
            Options()

    def test_a_host_without_tdx_has_no_quotes(self) -> None:
        Options(insecure_no_tdx=True)
        with pytest.raises(UsageError, match="no quotes"):
            Options(insecure_no_tdx=True, pccs=PCCS)
        with pytest.raises(UsageError, match="needs no archive"):
            Options(insecure_no_tdx=True, archive=Archive("https://a/", "s", ("main",), ARMOURED))

    @pytest.mark.parametrize(
        "more",
        [{"addresses": ("198.51.100.7",)}, {"resolvers": ("9.9.9.9",)}, {"ipv6": True}, {"uplink": "eth0"}],
    )
    def test_what_routes_is_for_routed_alone(self, more: dict[str, object]) -> None:
        Options(pccs=PCCS, **more)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="routes nothing"):
            Options(pccs=PCCS, network=Network("bridge", "br0"), **more)  # type: ignore[arg-type]

    def test_an_ipv6_address_needs_ipv6(self) -> None:
        Options(pccs=PCCS, addresses=("2001:db8::7",), ipv6=True)
        with pytest.raises(UsageError, match="--ipv6"):
            Options(pccs=PCCS, addresses=("2001:db8::7",))
