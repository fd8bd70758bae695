"""The run-time configuration: one spelling for each value, and a named reason for all else."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary import config
from pluto_notary.errors import CONFIG_REASONS, ConfigError

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
GOOD = b'{"deployment":"staging-1","version":1}'
ACME = config.Acme("https://acme-v02.api.letsencrypt.org/directory", "notary.example")
CERTIFIED = (
    b'{"acme":{"directory":"https://acme-v02.api.letsencrypt.org/directory","domain":"notary.example"},"version":1}'
)


def disk_of(payload: bytes, *, length: int | None = None, tail: bytes = b"") -> bytes:
    head = (len(payload) if length is None else length).to_bytes(4, "big")
    return (head + payload + tail).ljust(config.DISK_SIZE, b"\0")


@settings(max_examples=50, deadline=None)
@given(LABELS)
def test_a_disk_carries_what_was_encoded(label: str) -> None:
    payload = config.encode_payload(deployment=label)
    disk = config.encode_config_disk(payload)
    assert len(disk) == config.DISK_SIZE
    assert config.decode_config_disk(disk) == payload
    assert config.parse_payload(payload) == config.RuntimeConfiguration(label, hashlib.sha256(payload).digest())


def test_the_payload_is_the_documented_one() -> None:
    assert config.encode_payload(deployment="staging-1") == GOOD


def test_an_authority_stands_alone_or_beside_a_label() -> None:
    assert config.encode_payload(acme=ACME) == CERTIFIED
    alone = config.parse_payload(CERTIFIED)
    assert alone == config.RuntimeConfiguration(None, hashlib.sha256(CERTIFIED).digest(), ACME)
    both = config.parse_payload(config.encode_payload(deployment="staging-1", acme=ACME))
    assert (both.deployment, both.acme) == ("staging-1", ACME)
    assert config.encode_payload() == b""


@pytest.mark.parametrize(
    "payload",
    [
        b'{"acme":null,"version":1}',
        b'{"acme":"https://a.b/","version":1}',
        b'{"acme":{},"version":1}',
        b'{"acme":{"directory":"https://a.b/"},"version":1}',
        b'{"acme":{"domain":"notary.example"},"version":1}',
        b'{"acme":{"directory":"https://a.b/","domain":"notary.example","roots":""},"version":1}',
        b'{"acme":{"directory":"https://a.b/","domain":7},"version":1}',
        b'{"acme":{"directory":"https://a.b/","domain":"notary.example"},"deployment":null,"version":1}',
        b'{"acme":{"directory":"https://a.b/","domain":"notary.example"}}',
    ],
)
def test_an_authority_in_part_or_with_more_is_refused(payload: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse_payload(payload)
    assert caught.value.reason == "schema"


@pytest.mark.parametrize(
    ("directory", "good"),
    [
        ("https://a.b/", True),
        ("https://a.b:14000/dir", True),
        ("https://a.b/A-1/%20~;", True),
        ("https://a.b/" + "x" * 243, True),
        ("https://a.b/" + "x" * 244, False),
        ("https://a.b", False),
        ("http://a.b/", False),
        ("HTTPS://a.b/", False),
        ("https://A.b/", False),
        ("https://a.b:443/", False),
        ("https://a.b:0443/", False),
        ("https://a.b:0/", False),
        ("https://a.b:65536/", False),
        ("https://a.b:/", False),
        ("https://a.b:1:2/", False),
        ("https://u@a.b/", False),
        ("https://a.b/?x", False),
        ("https://a.b/#x", False),
        ("https://a.b/ x", False),
        ("https://a.b/\n", False),
        ("https://a.b/ä", False),
        ("https://a.b\\@c.d/", False),
        ("https:///", False),
        ("https://a/", False),
        ("https://a.b./", False),
        ("https://1.2.3.4/", False),
        ("https://[::1]/", False),
        ("", False),
    ],
)
def test_a_directory_is_a_url_in_its_one_spelling(directory: str, good: bool) -> None:
    acme = config.Acme(directory, "notary.example")
    if good:
        assert config.parse_payload(config.encode_payload(acme=acme)).acme == acme
        return
    with pytest.raises(ConfigError):
        config.encode_payload(acme=acme)


@pytest.mark.parametrize(
    ("domain", "good"),
    [
        ("notary.example", True),
        ("a-b.c--d.xn--p1ai", True),
        (".".join(["a" * 49] * 5) + ".bcd", True),
        (".".join(["a" * 49] * 5) + ".bcde", False),
        ("notary", False),
        ("Notary.example", False),
        ("notary.example.", False),
        (".example", False),
        ("a..b", False),
        ("-a.example", False),
        ("a-.example", False),
        ("*.example", False),
        ("a_b.example", False),
        ("a.1", False),
        ("127.0.0.1", False),
        ("a" * 64 + ".example", False),
        ("ä.example", False),
        ("a.example\n", False),
        ("", False),
    ],
)
def test_a_domain_is_a_host_name(domain: str, good: bool) -> None:
    assert config.is_host_name(domain) is good
    if not good:
        with pytest.raises(ConfigError):
            config.encode_payload(acme=config.Acme("https://a.b/", domain))


def test_an_empty_configuration_is_a_disk_of_zeros_and_has_a_digest() -> None:
    disk = config.encode_config_disk(b"")
    assert disk == bytes(config.DISK_SIZE)
    accepted = config.parse_payload(config.decode_config_disk(disk))
    assert accepted == config.RuntimeConfiguration(None, hashlib.sha256(b"").digest())


@pytest.mark.parametrize(
    ("reason", "disk"),
    [
        ("size", b""),
        ("size", bytes(config.DISK_SIZE - 1)),
        ("size", bytes(config.DISK_SIZE + 1)),
        ("length", disk_of(GOOD, length=config.LARGEST_PAYLOAD + 1)),
        ("length", disk_of(GOOD, length=2**32 - 1)),
        ("padding", disk_of(GOOD, tail=b"\0\0x")),
        ("padding", disk_of(b"", length=0, tail=GOOD)),
        ("padding", disk_of(GOOD, length=len(GOOD) - 1)),
        ("spelling", disk_of(GOOD, length=len(GOOD) + 1)),
    ],
)
def test_a_disk_of_another_form_is_refused_with_its_reason(reason: str, disk: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse_payload(config.decode_config_disk(disk))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("reason", "payload"),
    [
        ("spelling", b"{"),
        ("spelling", b"\xff"),
        ("spelling", b"\xef\xbb\xbf" + GOOD),
        ("spelling", GOOD + b"\n"),
        ("spelling", b'{"deployment": "staging-1","version":1}'),
        ("spelling", b'{"version":1,"deployment":"staging-1"}'),
        ("spelling", b'{"deployment":"\\u0073taging-1","version":1}'),
        ("spelling", b'{"deployment":"a","deployment":"a","version":1}'),
        ("spelling", b'{"deployment":"a","version":1.0}'),
        ("spelling", b'{"deployment":"a","version":NaN}'),
        ("spelling", b'{"deployment":"\\ud800","version":1}'),
        ("spelling", b"[" * 5000),
        ("spelling", b'{"version":' + b"9" * 5000 + b"}"),
        ("schema", b"null"),
        ("schema", b"[]"),
        ("schema", b"{}"),
        ("schema", b'{"version":1}'),
        ("schema", b'{"deployment":"a","version":2}'),
        ("schema", b'{"deployment":"a","version":true}'),
        ("schema", b'{"deployment":1,"version":1}'),
        ("schema", b'{"deployment":null,"version":1}'),
        ("schema", b'{"debug":true,"deployment":"a","version":1}'),
        ("schema", b'{"deployment":"","version":1}'),
        ("schema", b'{"deployment":"-a","version":1}'),
        ("schema", b'{"deployment":"A","version":1}'),
        ("schema", b'{"deployment":"a\\n","version":1}'),
        ("schema", '{"deployment":"ä","version":1}'.encode()),
        ("schema", b'{"deployment":"' + b"a" * 64 + b'","version":1}'),
        ("length", b" " * (config.LARGEST_PAYLOAD + 1)),
    ],
)
def test_a_payload_of_another_form_is_refused_with_its_reason(reason: str, payload: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse_payload(payload)
    assert caught.value.reason == reason
    with pytest.raises(ConfigError):
        config.encode_config_disk(payload)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_accepted_or_refused_with_a_known_reason(payload: bytes) -> None:
    try:
        reason = ""
        config.parse_payload(payload)
    except ConfigError as error:
        reason = error.reason
    assert reason in ("", *CONFIG_REASONS)


@settings(max_examples=50, deadline=None)
@given(LABELS)
def test_a_text_carries_what_was_encoded(label: str) -> None:
    payload = config.encode_payload(deployment=label)
    text = config.encode_config_text(payload)
    assert base64.b64decode(text, validate=True) == len(payload).to_bytes(4, "big") + payload
    assert config.decode_config_text(text.encode()) == payload


def test_an_empty_configuration_is_a_text_too_and_no_text_is_none() -> None:
    assert config.encode_config_text(b"") == "AAAAAA=="
    assert config.decode_config_text(b"AAAAAA==") == b""
    with pytest.raises(ConfigError) as caught:
        config.decode_config_text(b"")
    assert caught.value.reason == "size"
    assert len(base64.b64encode(bytes(4 + config.LARGEST_PAYLOAD))) == config.LARGEST_TEXT


def text_of(blob: bytes) -> bytes:
    return base64.b64encode(blob)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("length", b"A" * (config.LARGEST_TEXT + 1)),
        ("size", text_of(b"\0\0\0")),
        ("size", text_of(len(GOOD).to_bytes(4, "big") + GOOD[:-1])),
        ("size", text_of(len(GOOD).to_bytes(4, "big") + GOOD + b"\0")),
        ("size", text_of(bytes(5))),
        ("size", text_of(b"\xff" * 4)),
        ("size", text_of(GOOD)),
        ("size", text_of(config.encode_config_disk(GOOD)[:16384])),
        ("encoding", b"AAAAAA"),
        ("encoding", b"AAAAAA="),
        ("encoding", b"AAAAAA==="),
        ("encoding", b"AAAAAB=="),  # bits that nothing decodes
        ("encoding", b"AAAAAA==\n"),
        ("encoding", b"AAAA AA=="),
        ("encoding", b"AAAAAA==AAAAAA=="),
        ("encoding", b"\xef\xbb\xbfAAAAAA=="),
        ("encoding", text_of(b"\0\0\0\3\xff\xff\xff").replace(b"/", b"_")),
        ("encoding", b"!"),
        ("encoding", b"\xff\xff\xff\xff"),
    ],
)
def test_a_text_of_another_form_is_refused_with_its_reason(reason: str, text: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        config.decode_config_text(text)
    assert caught.value.reason == reason


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=40).map(text_of))
def test_a_text_is_the_one_spelling_of_its_payload_or_refused(text: bytes) -> None:
    try:
        payload = config.decode_config_text(text)
    except ConfigError:
        return
    assert text_of(len(payload).to_bytes(4, "big") + payload) == text


def test_a_label_that_the_notary_would_refuse_cannot_be_encoded() -> None:
    with pytest.raises(ConfigError):
        config.encode_payload(deployment="Staging 1")
