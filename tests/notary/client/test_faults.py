"""What goes wrong on the way to a notary: the client ends with exit code 6 or 3, in time, and tries nothing weaker."""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from OpenSSL import SSL

from pluto_measure.errors import SourceError, UsageError
from pluto_notary.certificate import make_identity
from pluto_notary.cli import main
from pluto_notary.client.wire import Notary, connected
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.inner import InnerTls, server_context
from simulators.notary import sites, today, whole
from simulators.notary.certificates import Authority
from simulators.notary.channel import PretendNotary
from simulators.notary.manifests import PRICE
from simulators.notary.relay import Relay, behind_tls
from simulators.notary.today import Folder

HOST = "shop.example"
MANIFEST = {
    "manifestVersion": "2",
    "request": {"method": "GET", "url": f"https://{HOST}/", "headers": {}},
    "response": PRICE,
}


@pytest.fixture(scope="module")
def notary() -> Iterator[whole.Running]:
    authority = Authority()
    page = sites.page(b'{"price":"12.50"}', ("content-type", "application/json"))
    with sites.Site(authority.issue(HOST), page) as site, today.running(authority, {HOST: site}) as notary:
        yield notary


def prove(folder: Path, notary: whole.Running, port: int, *more: str) -> int:
    accepting = Folder(folder, notary).accepting
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    words = ["prove", "--notary", f"https://127.0.0.1:{port}", "--manifest", str(folder / "manifest.json")]
    return main([*words, *accepting, "--out", str(folder / "proof.json"), *more])


def test_a_connection_that_is_cut_anywhere_gives_no_proof(
    notary: whole.Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Relay(notary.port) as whole_way:
        assert prove(tmp_path, notary, whole_way.port) == 0
    assert whole_way.connections == 1
    (tmp_path / "proof.json").unlink()
    for share in range(1, 20):
        # The last bytes are those that say goodbye, and nothing waits for them.
        with Relay(notary.port, cut_after=(whole_way.passed - 200) * share // 20) as relay:
            assert prove(tmp_path, notary, relay.port) == 6, share
        assert "Traceback" not in capsys.readouterr().err
        assert not (tmp_path / "proof.json").exists()
        assert relay.connections == 1


@pytest.mark.parametrize("after", [0, 100, 1500, 6000])
def test_a_notary_that_falls_silent_is_left_in_time(
    notary: whole.Running, tmp_path: Path, capsys: pytest.CaptureFixture[str], after: int
) -> None:
    start = time.monotonic()
    with Relay(notary.port, stall_after=after) as relay:
        assert prove(tmp_path, notary, relay.port, "--timeout", "0.7") == 6
        assert time.monotonic() - start < 5
    assert "took too long" in capsys.readouterr().err
    assert relay.connections == 1
    assert not (tmp_path / "proof.json").exists()


class OtherInner(PretendNotary):
    """Its inner TLS does not choose version 2, or is no TLS 1.3."""

    old = False

    def __init__(self) -> None:
        super().__init__()
        context = server_context(make_identity(os.urandom))
        context.set_alpn_select_callback(lambda *_: SSL.NO_OVERLAPPING_PROTOCOLS)
        if self.old:
            context.set_min_proto_version(SSL.TLS1_2_VERSION)
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
        self._inner = InnerTls(context, server=True)


class OldInner(OtherInner):
    old = True


@pytest.mark.parametrize(("make", "code"), [(OtherInner, "version"), (OldInner, "tls")])
def test_a_notary_that_speaks_something_older_is_told_nothing(make: type[PretendNotary], code: str) -> None:
    made: list[PretendNotary] = []

    def noted() -> PretendNotary:
        made.append(make())
        return made[-1]

    with behind_tls(noted) as port, Relay(port) as relay:
        with (
            pytest.raises(ChannelError) as caught,
            connected(Notary("127.0.0.1", relay.port), protocol="tcp", random=os.urandom, seconds=20),
        ):
            pytest.fail("this is no channel")
        assert caught.value.code == code
        time.sleep(0.2)
    assert relay.connections == 1
    assert [one.fetched for one in made] == [None]


def refused(port: int, protocol: str) -> str:
    """What the client says of whoever listens there."""
    with (
        pytest.raises(SourceError) as caught,
        connected(Notary("127.0.0.1", port), protocol=protocol, random=os.urandom, seconds=20),
    ):
        pytest.fail("this is no notary")
    return str(caught.value)


@pytest.mark.parametrize("protocol", ["websocket", "tcp"])
def test_who_is_no_notary_is_an_error_of_somebody_elses(protocol: str) -> None:
    authority = Authority()
    with sites.Site(authority.issue("127.0.0.1"), sites.page(b"hello"), versions=_ONLY_13) as site:
        assert refused(site.port, protocol).endswith("the notary did not upgrade the connection (200)")
    with sites.Site(None, lambda visit: visit.send(b"SSH-2.0-x\r\n")) as site:
        assert "does not speak TLS 1.3: " in refused(site.port, protocol)


@pytest.mark.parametrize(
    ("status", "said"), [("503 Service Unavailable", "is busy"), ("429 Too Many Requests", "too often")]
)
def test_a_notary_that_has_no_room_now_says_so(status: str, said: str) -> None:
    authority = Authority()
    with sites.Site(authority.issue("127.0.0.1"), sites.page(b"{}", status=status), versions=_ONLY_13) as site:
        assert said in refused(site.port, "tcp")


_ONLY_13 = (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", "no-such-name.invalid"])
def test_a_name_that_leads_nowhere(host: str) -> None:
    with (
        pytest.raises(SourceError, match="cannot be reached"),
        connected(Notary(host, 443), protocol="tcp", random=os.urandom, seconds=20),
    ):
        pytest.fail("nobody is there")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://notary.example", ("notary.example", 443)),
        ("wss://Notary.Example:8443/", ("notary.example", 8443)),
        ("https://[2001:db8::1]:8443", ("2001:db8::1", 8443)),
    ],
)
def test_where_a_notary_answers(url: str, place: tuple[str, int]) -> None:
    notary = Notary.parse(url)
    assert (notary.host, notary.port) == place
    assert Notary.parse(str(notary)) == notary


@pytest.mark.parametrize("url", ["", "https://", "ws://a", "https://a b", "https://a:x", "https://a?q", "https://a#f"])
def test_what_is_no_url_of_a_notary(url: str) -> None:
    with pytest.raises(UsageError):
        Notary.parse(url)
