"""What a signing certificate says, read strictly, and which identities of a trust file it fits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.publish.certificate import Claims, fits, is_bundle
from pluto_measure.publish.trust import Identity
from simulators.intel import key_of
from simulators.sigstore import AT, GITHUB, Fulcio, Signer, person, workflow

ARC = "1.3.6.1.4.1.57264.1."
SAN = "https://github.com/pluto/pluto/.github/workflows/release.yml@refs/tags/v1.0.0"
IDENTITY = Identity(GITHUB, SAN, "4711", "refs/tags/v1.0.0")
ISSUER = (8, b"\x0c\x06issuer")
URI = x509.UniformResourceIdentifier("https://a.example/b")


def der_of(signer: Signer) -> bytes:
    return Fulcio.of("here", AT).issue(signer, key_of("leaf").public_key(), AT, sct=None).public_bytes(Encoding.DER)


def claims_of(signer: Signer) -> Claims:
    return Claims.parse(der_of(signer))


def certificate(*extensions: tuple[int, bytes], names: tuple[x509.GeneralName, ...] = (URI,)) -> bytes:
    """Any certificate at all, self-signed."""
    key = key_of("any")
    made = x509.CertificateBuilder(x509.Name([]), x509.Name([]), key.public_key(), 1, AT, AT + timedelta(1))
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=True)
    for number, value in extensions:
        made = made.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{ARC}{number}"), value), False)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def refused(problem: str, der: bytes) -> None:
    with pytest.raises(FormatError, match=problem):
        Claims.parse(der)


def test_a_workflow_certificate_says_who_built_what_for_whom() -> None:
    assert claims_of(workflow()) == Claims(
        issuer=GITHUB,
        san=SAN,
        build_signer_uri=SAN,
        build_signer_digest="c0ffee" * 6 + "c0de",
        runner_environment="github-hosted",
        source_repository="https://github.com/pluto/pluto",
        source_digest="c0ffee" * 6 + "c0de",
        source_ref="refs/tags/v1.0.0",
        repository_id="4711",
        owner_id="42",
        build_config_uri=SAN,
        build_trigger="push",
        run_uri="https://github.com/pluto/pluto/actions/runs/1/attempts/1",
    )


def test_a_persons_certificate_says_an_address_and_who_vouches_for_it() -> None:
    claims = claims_of(person())
    assert (claims.issuer, claims.san) == ("https://accounts.example", "somebody@pluto.example")
    assert (claims.repository_id, claims.source_ref, claims.build_signer_uri) == (None, None, None)
    assert claims.signer_ref is None
    assert not claims.is_foreign_signer


def test_a_long_claim_has_a_long_length() -> None:
    for size in (127, 128, 200, 256, 4096):
        assert claims_of(workflow(_21="r" * size)).run_uri == "r" * size
    refused("too long", der_of(workflow(_21="r" * 4097)))


def test_the_issuer_is_that_of_extension_8_and_the_old_one_must_not_contradict_it() -> None:
    refused(r"no issuer \(extension 1.3.6.1.4.1.57264.1.8\)", certificate((1, b"issuer")))
    refused("two issuers", certificate((1, b"another"), ISSUER))
    assert Claims.parse(certificate((1, b"issuer"), ISSUER)).issuer == "issuer"
    assert Claims.parse(certificate(ISSUER)).issuer == "issuer"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x0c",
        b"issuer",
        b"\x13\x06issuer",  # PrintableString
        b"\x04\x06issuer",  # OCTET STRING
        b"\x0c\x06issuers",
        b"\x0c\x06issue",
        b"\x0c\x81\x06issuer",  # a length in more bytes than it needs
        b"\x0c\x82\x00\x06issuer",
        b"\x0c\x80issuer\0\0",  # no length
        b"\x0c\xff",
        b"\x2c\x08\x0c\x06issuer",  # in pieces
        b"\x0c\x06issuer\x0c\x06issuer",
    ],
)
def test_a_claim_is_the_der_of_one_utf8string(value: bytes) -> None:
    refused("57264.1.8 is not the DER of one UTF8String", certificate((8, value)))
    refused("57264.1.15 is not the DER of one UTF8String", certificate(ISSUER, (15, value)))


@pytest.mark.parametrize("text", [b"", b" a", b"a\n", b"a\0b", b"\xe2\x80\xaea"])
def test_a_claim_is_text_that_people_can_read(text: bytes) -> None:
    refused("cannot be printed", certificate((8, bytes([0x0C, len(text)]) + text)))


def test_a_claim_is_utf_8() -> None:
    refused("is not UTF-8", certificate((8, b"\x0c\x02\xff\xfe")))


def test_a_claim_occurs_once() -> None:
    """A library that takes the first and one that takes the last would see different signers."""
    der = der_of(workflow())
    trigger, run = (bytes.fromhex("060a2b0601040183bf3001") + bytes([number]) for number in (20, 21))
    assert der.count(run) == 1
    refused("cannot be read", der.replace(run, trigger))


@pytest.mark.parametrize(
    ("problem", "names"),
    [
        ("has no subject alternative name", ()),
        ("has 2 subject alternative names", (URI, URI)),
        ("has 2 subject alternative names", (URI, x509.RFC822Name("a@b.example"))),
        ("is a DNSName, not a URI or an e-mail", (x509.DNSName("a.example"),)),
        ("is a OtherName, not a URI", (x509.OtherName(x509.ObjectIdentifier(f"{ARC}7"), b"\x0c\x01a"),)),
        ("cannot be printed", (x509.UniformResourceIdentifier("https://a.example/ "),)),
    ],
)
def test_a_certificate_names_one_signer(problem: str, names: tuple[x509.GeneralName, ...]) -> None:
    refused(problem, certificate(ISSUER, names=names))


def test_what_is_no_certificate_is_refused() -> None:
    der = der_of(workflow())
    for wrong in (b"", b"\x30\x00", der[:-1], der + b"\0", der[1:]):
        refused("cannot be read", wrong)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of certificates with odd serial numbers
@given(st.integers(0, len(der_of(workflow())) - 1), st.integers(1, 255))
@settings(max_examples=300)
def test_any_bytes_are_claims_or_a_format_error(at: int, change: int) -> None:
    der = bytearray(der_of(workflow()))
    der[at] ^= change
    try:
        Claims.parse(bytes(der))
    except FormatError:
        return


def test_an_identity_fits_the_certificate_that_it_describes() -> None:
    assert fits(IDENTITY, claims_of(workflow())) == ()
    assert fits(Identity(GITHUB, SAN, "any", "any"), claims_of(workflow())) == ()
    assert (
        fits(Identity("https://accounts.example", "a@b.example", "any", "any"), claims_of(person("a@b.example"))) == ()
    )


@pytest.mark.parametrize(
    ("member", "identity"),
    [
        ("issuer", Identity(f"{GITHUB}/", SAN, "4711", "refs/tags/v1.0.0")),
        ("issuer", Identity(GITHUB.upper(), SAN, "4711", "refs/tags/v1.0.0")),
        ("san", Identity(GITHUB, f"{SAN}/", "4711", "refs/tags/v1.0.0")),
        ("san", Identity(GITHUB, SAN.replace("pluto/pluto", "Pluto/pluto"), "4711", "refs/tags/v1.0.0")),
        ("repositoryId", Identity(GITHUB, SAN, "471", "refs/tags/v1.0.0")),
        ("repositoryId", Identity(GITHUB, SAN, "04711", "refs/tags/v1.0.0")),
        ("ref", Identity(GITHUB, SAN, "4711", "v1.0.0")),
        ("ref", Identity(GITHUB, SAN, "4711", "refs/heads/v1.0.0")),
        ("ref", Identity(GITHUB, SAN, "4711", "refs/tags/v1.0.0 ")),
    ],
)
def test_each_member_is_compared_exactly(member: str, identity: Identity) -> None:
    (problem,) = fits(identity, claims_of(workflow()))
    assert problem.startswith(f"{member}: ")


def test_every_difference_is_named() -> None:
    problems = fits(Identity("a", "b", "c", "d"), claims_of(person()))
    assert [problem.partition(":")[0] for problem in problems] == ["issuer", "san", "repositoryId", "ref"]
    assert problems[2] == "repositoryId: not stated, not 'c'"


def test_any_is_free_where_it_may_stand_and_nowhere_else() -> None:
    """The trust file refuses an issuer or a signer of "any"; if one came through, it would fit nobody."""
    assert [p[:6] for p in fits(Identity("any", "any", "any", "any"), claims_of(workflow()))] == ["issuer", "san: '"]


def test_an_unstated_repository_does_not_fit_a_stated_one() -> None:
    assert fits(IDENTITY, claims_of(workflow(_15=None, _14=None))) == (
        "repositoryId: not stated, not '4711'",
        "ref: not stated, not 'refs/tags/v1.0.0'",
    )


def test_the_build_signer_is_the_signer() -> None:
    (problem,) = fits(IDENTITY, claims_of(workflow(_9="https://github.com/mallory/x@refs/tags/v1.0.0")))
    assert problem.startswith("signer: ")
    assert "mallory" in problem
    assert fits(IDENTITY, claims_of(workflow(_9=None))) == ()


REUSABLE = "pluto/builder/.github/workflows/build.yml@refs/tags/v7"


def test_a_reusable_workflow_of_another_repository_has_a_ref_of_its_own() -> None:
    claims = claims_of(workflow(signer=REUSABLE))
    assert claims.is_foreign_signer
    assert claims.signer_ref == "refs/tags/v7"
    assert fits(Identity(GITHUB, f"https://github.com/{REUSABLE}", "4711", "refs/tags/v1.0.0"), claims) == ()
    assert fits(Identity(GITHUB, f"https://github.com/{REUSABLE}", "4711", "any"), claims) == ()


def test_a_reusable_workflow_needs_a_repository_since_anybody_may_call_it() -> None:
    wide = Identity(GITHUB, f"https://github.com/{REUSABLE}", "any", "any")
    for repository in ("pluto/pluto", "mallory/pluto"):
        (problem,) = fits(wide, claims_of(workflow(repository, signer=REUSABLE)))
        assert problem.startswith("repositoryId: ")
        assert repository in problem


def test_a_repository_whose_name_begins_with_the_sources_is_another() -> None:
    for name in ("pluto/pluto-evil", "pluto/plutoevil"):
        assert claims_of(workflow(signer=f"{name}/.github/workflows/release.yml@refs/tags/v1.0.0")).is_foreign_signer


def test_a_workflow_of_the_same_repository_may_be_named_by_the_commit_of_the_source() -> None:
    own = "pluto/pluto/.github/workflows/release.yml"
    at_commit = claims_of(workflow(signer=f"{own}@{'c0ffee' * 6}c0de"))
    assert fits(Identity(GITHUB, at_commit.san, "4711", "refs/tags/v1.0.0"), at_commit) == ()
    elsewhere = claims_of(workflow(signer=f"{own}@{'badbad' * 6}c0de"))
    (problem,) = fits(Identity(GITHUB, elsewhere.san, "4711", "refs/tags/v1.0.0"), elsewhere)
    assert problem.startswith("signer: ")


def test_without_a_source_repository_the_refs_must_agree_all_the_same() -> None:
    (problem,) = fits(IDENTITY, claims_of(workflow(_12=None, _14="refs/heads/main")))[1:]
    assert problem.startswith("signer: ")


@given(st.text(min_size=1, max_size=12), st.sampled_from(["issuer", "san", "repository_id", "ref"]))
def test_nothing_but_the_very_text_fits(text: str, member: str) -> None:
    values = {"issuer": GITHUB, "san": SAN, "repository_id": "4711", "ref": "refs/tags/v1.0.0"}
    changed = {**values, member: values[member] + text}
    assert fits(Identity(**changed), claims_of(workflow())) != ()


def test_bundles_are_told_from_plain_envelopes_by_content() -> None:
    assert is_bundle({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": {}})
    assert is_bundle({"verificationMaterial": {}})
    assert not is_bundle({"payload": "", "payloadType": "", "signatures": []})
    assert not any(is_bundle(other) for other in (["mediaType"], "mediaType", None, 1))
