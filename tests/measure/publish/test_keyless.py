"""Sigstore bundles: offline, at any hour, under one root, with an answer for whatever comes."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import sigstore._utils
import sigstore.oidc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sigstore.models import ClientTrustConfig

from pluto_measure.errors import FormatError, SourceError, UsageError, VerificationError
from pluto_measure.publish import keyless
from pluto_measure.publish.certificate import Claims, fits
from pluto_measure.publish.sigstore_bundle import LARGEST_PAYLOAD, LIMIT, SigstoreBundle
from pluto_measure.publish.trust import Identity
from simulators.sigstore import (
    ABSENT,
    AT,
    GITHUB,
    Checkpointing,
    PretendServices,
    PretendSigstore,
    edited,
    person,
    statement,
    workflow,
)

HERE = PretendSigstore("keyless")
ROOT = HERE.root()
PAYLOAD = statement([("disk.raw", b"disk"), ("pluto.efi", b"uki")], "https://pluto.example/release/v1", {"a": 1})
FORMS: dict[str, dict[str, Any]] = {
    "Rekor 1": {},
    "Rekor 1 and a timestamp": {"timestamp": "good"},
    "Rekor 2": {"generation": 2},
}
BUNDLES = {name: HERE.sign(PAYLOAD, **form) for name, form in FORMS.items()}
OPEN = keyless.opener(ROOT)
SECOND = timedelta(seconds=1)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise OSError("no network in this test")

    for name in ("socket", "create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, forbidden)


@pytest.mark.parametrize("form", FORMS)
def test_a_good_bundle_gives_what_was_signed_by_whom_and_when(form: str) -> None:
    opened = keyless.verify(BUNDLES[form], root=ROOT)
    assert opened == OPEN(BUNDLES[form])
    assert (opened.payload_type, opened.payload) == ("application/vnd.in-toto+json", PAYLOAD)
    assert opened.signed_at == AT
    assert opened.signed_at.tzinfo is not None
    assert opened.certificate == SigstoreBundle.parse(BUNDLES[form]).certificate


@pytest.mark.parametrize("generation", [1, 2])
def test_anybody_may_have_signed(generation: int) -> None:
    """Who may is not decided here."""
    assert OPEN(HERE.sign(PAYLOAD, person(), generation=generation)).payload == PAYLOAD


def test_the_earlier_of_two_times_counts() -> None:
    for later in (timedelta(seconds=-5), timedelta(seconds=5)):
        bundle = HERE.sign(PAYLOAD, timestamp="good", stamped_at=AT + later, issued_at=AT - timedelta(seconds=60))
        assert OPEN(bundle).signed_at == min(AT, AT + later)


@pytest.mark.parametrize("form", FORMS)
def test_no_network_and_no_file(form: str, no_network: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    assert keyless.verify(BUNDLES[form], root=ROOT).payload == PAYLOAD
    with pytest.raises(VerificationError, match=r"sigstore\.log: the root knows no log"):
        keyless.verify(BUNDLES[form], root=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("year", [1971, 2400])
def test_no_clock(form: str, year: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhen(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Elsewhen:
            return cls(year, 1, 1, tzinfo=tz)

    monkeypatch.setattr(sigstore._utils, "datetime", Elsewhen)
    assert keyless.verify(BUNDLES[form], root=HERE.root()).signed_at == AT


def spelled(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("of", "step"),
    [
        ("tlogs", "log"),
        ("ctlogs", "sct"),
        ("certificateAuthorities", "certificate"),
        ("timestampAuthorities", "timestamp"),
    ],
)
def test_a_key_counts_for_what_was_signed_in_its_time(form: str, of: str, step: str) -> None:
    for period in ((AT + SECOND, None), (AT - timedelta(9), AT - SECOND)):
        start, end = (None if instant is None else spelled(instant) for instant in period)
        root = HERE.root(**{of: (start or "", end)})
        if (of, form) == ("timestampAuthorities", "Rekor 1"):
            assert keyless.verify(BUNDLES[form], root=root).payload == PAYLOAD
            continue
        with pytest.raises(VerificationError, match=rf"^sigstore\.{step}: "):
            keyless.verify(BUNDLES[form], root=root)
    root = HERE.root(**{of: (spelled(AT), spelled(AT))})  # both ends belong to it
    assert keyless.verify(BUNDLES[form], root=root).payload == PAYLOAD


@pytest.mark.parametrize(
    ("problem", "where", "value"),
    [
        ("mediaType", "mediaType", "application/vnd.dev.sigstore.trustedroot.v0.2+json"),
        ("tlogs", "tlogs.0", 7),
        ("validFor: start is missing", "tlogs.0.publicKey.validFor", {}),
        ("is no time", "certificateAuthorities.0.validFor.start", "yesterday"),
        ("which zone", "ctlogs.0.publicKey.validFor.start", "2026-01-01T00:00:00"),
        ("unknown member", "timestampAuthorities.0.validFor.until", "2026-01-01T00:00:00Z"),
        ("unknown member", "more", {}),
        ("has no address", "tlogs.0.baseUrl", "rekor1.pluto.example"),
        ("validFor is missing", "certificateAuthorities.0.validFor", ABSENT),
    ],
)
def test_a_bad_root_is_named_before_any_bundle_is_read(problem: str, where: str, value: Any) -> None:
    with pytest.raises(FormatError, match=f"^sigstore root.*{problem}"):
        keyless.opener(edited(ROOT, where, value))


@pytest.mark.parametrize("where", ["tlogs.0.publicKey.keyDetails", "certificateAuthorities.0.certChain.certificates.0"])
def test_a_root_that_the_library_cannot_read(where: str) -> None:
    with pytest.raises(FormatError, match=r"^sigstore root: cannot be read"):
        keyless.verify(BUNDLES["Rekor 1"], root=edited(ROOT, where, {"x": 1}))


def test_a_root_without_logs_of_certificates_or_authorities() -> None:
    for where, step in (("tlogs", "log"), ("ctlogs", "sct"), ("certificateAuthorities", "certificate")):
        with pytest.raises(VerificationError, match=rf"^sigstore\.{step}: "):
            keyless.verify(BUNDLES["Rekor 1"], root=edited(ROOT, where, []))


@pytest.mark.parametrize(
    ("problem", "bundle"),
    [
        ("not JSON", b""),
        ("not JSON", b"{"),
        ("must be an object", b"[]"),
        ("mediaType is missing", b"{}"),
        ("key occurs twice", b'{"mediaType": 1, "mediaType": 2}'),
        ("mediaType must be str", b'{"mediaType": null}'),
        ("more than", b" " * (LIMIT + 1)),
    ],
)
def test_what_is_no_bundle(problem: str, bundle: bytes) -> None:
    with pytest.raises(FormatError, match=problem):
        OPEN(bundle)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "application/vnd.dev.sigstore.bundle+json;version=0.3",
        "application/vnd.dev.sigstore.bundle.v0.4+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json ",
    ],
)
def test_one_version_in_one_spelling(media_type: str) -> None:
    with pytest.raises(FormatError, match="mediaType"):
        OPEN(edited(BUNDLES["Rekor 1"], "mediaType", media_type))


@pytest.mark.parametrize(
    "where",
    [
        "x",
        "dsseEnvelope.x",
        "verificationMaterial.x",
        "verificationMaterial.tlogEntries.0.x",
        "dsseEnvelope.signatures.0.x",
    ],
)
def test_an_unknown_member_is_refused(where: str) -> None:
    with pytest.raises(FormatError, match="unknown member x"):
        OPEN(edited(BUNDLES["Rekor 1"], where, 1))


def test_a_key_hint_beside_a_certificate_is_refused() -> None:
    bundle = BUNDLES["Rekor 1"]
    assert OPEN(edited(bundle, "dsseEnvelope.signatures.0.keyid", "")).payload == PAYLOAD
    with pytest.raises(FormatError, match="has a keyid"):
        OPEN(edited(bundle, "dsseEnvelope.signatures.0.keyid", "7"))


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value, and where it stands."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from leaves(item, f"{where}.{name}" if where else str(name))
    if isinstance(value, str):
        yield where, value


@pytest.mark.parametrize("form", FORMS)
def test_every_text_is_authenticated(form: str) -> None:
    """One character of each member changed, at its beginning, its middle and its end: all refused."""
    found = 0
    for where, text in leaves(json.loads(BUNDLES[form])):
        for at in {0, len(text) // 2, len(text.rstrip("=\n")) - 1}:
            other = "1" if text[at] != "1" else "2"
            with pytest.raises((FormatError, VerificationError)):
                OPEN(edited(BUNDLES[form], where, text[:at] + other + text[at + 1 :]))
            found += 1
    assert found > 50


@pytest.mark.parametrize("generation", [1, 2])
def test_every_character_of_a_checkpoint_is_authenticated_but_for_those_of_witnesses(generation: int) -> None:
    lines = (HERE.rekor(2).witnessed("one.example", b"note"),) if generation == 2 else ()
    bundle = HERE.sign(PAYLOAD, generation=generation, checkpoint=Checkpointing(lines=lines))
    where = "verificationMaterial.tlogEntries.0.inclusionProof.checkpoint.envelope"
    text = dict(leaves(json.loads(bundle)))[where]
    for at in range(0, len(text.partition("\N{EM DASH} one.example")[0]), 2):
        with pytest.raises((FormatError, VerificationError)):
            OPEN(edited(bundle, where, text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]))


ODD = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=9) | st.floats(0, 1)
EMPTY: st.SearchStrategy[object] = st.just([]) | st.just({})


@given(st.data())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bundle_gets_an_answer(data: st.DataObject) -> None:
    """Odd values anywhere: the payload that was signed, or one of our errors."""
    document = json.loads(data.draw(st.sampled_from(list(BUNDLES.values()))))
    for _ in range(data.draw(st.integers(1, 2))):
        place: Any = document
        while True:
            names = list(place) if isinstance(place, dict) else range(len(place))
            name = data.draw(st.sampled_from(list(names)))
            inner = place[name]
            if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
                break
            place = inner
        place[name] = data.draw(ODD | EMPTY)
    answer(json.dumps(document).encode())


def answer(bundle: bytes) -> None:
    """The payload that was signed, or an error that says so in a few words."""
    try:
        payload, said = OPEN(bundle).payload, ""
    except (FormatError, VerificationError) as error:
        payload, said = PAYLOAD, str(error)
    assert payload == PAYLOAD
    assert len(said) < 1000


@pytest.mark.filterwarnings("ignore::UserWarning")  # of certificates with odd serial numbers
@given(st.binary(max_size=60), st.integers(0, 2000))
@settings(max_examples=200, deadline=None)
def test_any_certificate_and_any_timestamp_get_an_answer(junk: bytes, at: int) -> None:
    document = json.loads(BUNDLES["Rekor 2"])
    material = document["verificationMaterial"]
    stamp = material["timestampVerificationData"]["rfc3161Timestamps"][0]
    for place, name in ((material["certificate"], "rawBytes"), (stamp, "signedTimestamp")):
        good = place[name]
        raw = base64.b64decode(good)
        begin = at % len(raw)
        place[name] = base64.b64encode(raw[:begin] + junk + raw[begin + len(junk) :]).decode()
        answer(json.dumps(document).encode())
        place[name] = good


def test_every_step_that_may_fail_is_documented() -> None:
    root = Path(keyless.__file__).parents[3]
    page = (root / "docs/formats/signatures.md").read_text()
    sources = "".join(path.read_text() for path in (root / "measure/pluto_measure/publish").glob("*.py"))
    raised = set(re.findall(r"""f"sigstore\.([a-z]+): """, sources)) | {step for _, step, _ in keyless._STEPS}
    assert set(re.findall(r"^\| `sigstore\.([a-z]+)` \|", page, re.MULTILINE)) == raised


def test_the_library_is_loaded_for_the_first_bundle_and_not_before() -> None:
    probe = (
        "import sys; from pluto_measure.publish import keyless, certificate; keyless.opener(sys.stdin.buffer.read());"
        "print([name for name in sys.modules if name.partition('.')[0] in {'sigstore', 'pydantic', 'requests'}])"
    )
    done = subprocess.run([sys.executable, "-c", probe], input=ROOT, capture_output=True, timeout=60, check=True)
    assert done.stdout.strip() == b"[]"


def test_without_the_library_a_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigstore.verify", None)
    bundle = BUNDLES["Rekor 1"]
    calls = (lambda: OPEN(bundle), lambda: keyless.verify(bundle, root=None), lambda: keyless.sign(PAYLOAD))
    for call in calls:
        with pytest.raises(UsageError, match="need sigstore") as caught:
            call()
        assert caught.value.hint == "pip install 'pluto-tee[publish]'"


class Job:
    """A CI job, whose requests a pretend Sigstore answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch.setattr

    def sign(self, payload: bytes = PAYLOAD, **services: Any) -> bytes:
        at = datetime.now(UTC).replace(microsecond=0)
        there = PretendServices(HERE, workflow(), at, **services)
        self._patch(sigstore.oidc, "detect_credential", there.token)
        self._patch(requests.Session, "request", lambda _, *wish, **more: there.request(*wish, **more))
        config = ClientTrustConfig.from_json(there.trust_config())
        self._patch(ClientTrustConfig, "production", lambda: config)
        return keyless.sign(payload)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, no_network: None) -> Job:
    return Job(monkeypatch)


@pytest.mark.parametrize("generation", [1, 2])
def test_what_a_job_signs_verifies(job: Job, generation: int) -> None:
    """The real client against pretend services, then the real verifier."""
    bundle = job.sign(generation=generation)
    opened = OPEN(bundle)
    assert opened.payload == PAYLOAD
    assert abs(opened.signed_at - datetime.now(UTC)) < timedelta(seconds=60)
    san = "https://github.com/pluto/pluto/.github/workflows/release.yml@refs/tags/v1.0.0"
    assert fits(Identity(GITHUB, san, "4711", "refs/tags/v1.0.0"), Claims.parse(opened.certificate)) == ()
    assert SigstoreBundle.parse(bundle).has_timestamp


@pytest.mark.parametrize(("generation", "down"), [(1, "fulcio"), (1, "rekor"), (2, "rekor"), (2, "stamps")])
def test_a_service_that_fails_is_not_our_fault(job: Job, generation: int, down: str) -> None:
    with pytest.raises(SourceError, match=r"^Sigstore did not sign: "):
        job.sign(generation=generation, down=down)


def test_rekor_1_says_the_time_itself(job: Job) -> None:
    assert not SigstoreBundle.parse(bundle := job.sign(down="stamps")).has_timestamp
    assert OPEN(bundle).payload == PAYLOAD


def test_a_job_signs_statements(job: Job) -> None:
    for wrong in (b"", b"{}", b'{"_type": "https://in-toto.io/Statement/v0.1"}'):
        with pytest.raises(FormatError, match="is no in-toto statement v1"):
            job.sign(wrong)


def test_what_can_be_signed_can_be_verified(job: Job) -> None:
    largest = statement([("a", b"")], "", {"x": ""})
    largest = largest.replace(b'"x":""', b'"x":"' + b"x" * (LARGEST_PAYLOAD - len(largest)) + b'"')
    assert OPEN(job.sign(largest)).payload == largest
    with pytest.raises(FormatError, match="which a bundle can hold"):
        job.sign(largest + b" ")


def test_without_a_job_nothing_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigstore.oidc, "detect_credential", lambda: None)
    with pytest.raises(UsageError, match="CI alone") as caught:
        keyless.sign(PAYLOAD)
    assert caught.value.hint == "pluto-measure sign STATEMENT --key FILE"


def test_a_job_without_permission_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> str:
        raise sigstore.oidc.IdentityError("no permission\nto ask for a token")

    monkeypatch.setattr(sigstore.oidc, "detect_credential", refused)
    with pytest.raises(SourceError, match=r"credentials cannot be had: no permission$"):
        keyless.sign(PAYLOAD)
