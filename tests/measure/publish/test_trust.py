"""The trust file: whose signatures count, each signer once, nothing left unsaid."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.publish.trust import Identity, Organisation, Trust
from simulators.intel import key_of

EXAMPLE = Path(__file__).resolve().parents[3] / "docs/examples/trust.toml"


def pem(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


HEAD = 'version = 2\nk = 1\nmaxConfirmationAge = "any"\n'
P256 = key_of("trusted").public_key()
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32).public_key()
SECP256K1 = ec.derive_private_key(7, ec.SECP256K1()).public_key()
P384 = ec.derive_private_key(7, ec.SECP384R1()).public_key()


def identity(**changes: str) -> str:
    values = {"issuer": "https://id.example", "san": "https://build.example/a@main", "repositoryId": "1", "ref": "main"}
    return "{ " + ", ".join(f'{name} = "{value}"' for name, value in {**values, **changes}.items()) + " }"


def organisation(name: str = "one", identities: str = "", keys: str = "") -> str:
    return f'[[organisations]]\nname = "{name}"\nidentities = [{identities}]\nkeys = [{keys}]\n'


def key(public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey) -> str:
    return f'"""\n{pem(public)}"""'


def trust(*organisations: str, head: str = HEAD) -> Trust:
    return Trust.parse(head + "".join(organisations))


def refused(problem: str, *organisations: str, head: str = HEAD) -> None:
    with pytest.raises(FormatError, match=problem):
        trust(*organisations, head=head)


def test_a_trust_file_says_what_its_author_wrote() -> None:
    found = trust(
        organisation("one", identity(), key(ED25519)),
        organisation("two", "", f"{key(P256)}, {key(SECP256K1)}"),
        head=HEAD.replace("k = 1", "k = 2"),
    )
    assert found.k == 2
    who = Identity("https://id.example", "https://build.example/a@main", "1", "main")
    assert found.organisations[0] == Organisation("one", (who,), (pem(ED25519),))
    assert found.organisations[1].keys == (pem(P256), pem(SECP256K1))


def test_the_example_is_a_trust_file() -> None:
    assert len(Trust.parse(EXAMPLE.read_bytes()).organisations) >= 2


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ("k = 1\n", "version is missing"),
        ("version = 2\n", "k is missing"),
        ("version = 2\nk = 1\n", "maxConfirmationAge is missing"),
        ("version = 3\nk = 1\n", "version 3 is not known"),
        (HEAD.replace("k = 1", "k = 0"), "k is 0, and there are 1 organisations"),
        (HEAD.replace("k = 1", "k = 2"), "k is 2, and there are 1 organisations"),
        (HEAD.replace("k = 1", "k = true"), "must be int"),
        (f"{HEAD}more = 1\n", "unknown member more"),
        *(
            (HEAD.replace('"any"', odd), 'must be "any" or a number of seconds')
            for odd in ('"1d"', "0", "-1", "316224001")
        ),
        *((HEAD.replace('"any"', odd), "must be int or str") for odd in ("true", "1.5", "[]")),
    ],
)
def test_a_head_that_is_wrong_is_refused(head: str, problem: str) -> None:
    refused(problem, organisation(identities=identity()), head=head)


@pytest.mark.parametrize(("text", "age"), [('"any"', "any"), ("1", 1), ("2592000", 2592000), ("316224000", 316224000)])
def test_how_old_a_confirmation_may_be(text: str, age: object) -> None:
    found = trust(organisation(identities=identity()), head=HEAD.replace('"any"', text))
    assert found.max_confirmation_age == age


def test_version_1_is_refused_with_what_to_write_since_it_left_that_open() -> None:
    with pytest.raises(FormatError, match="version 1 does not say how old") as raised:
        trust(organisation(identities=identity()), head="version = 1\nk = 1\n")
    assert raised.value.hint is not None
    assert "maxConfirmationAge" in raised.value.hint
    assert '"any" for what version 1 meant' in raised.value.hint


def test_no_organisation_is_refused() -> None:
    refused("organisations is missing")
    refused("k is 1, and there are 0", head=f"{HEAD}organisations = []\n")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (organisation(), "could never sign"),
        (organisation("", identity()), "name is empty"),
        (organisation(" one", identity()), "spaces around it"),
        (organisation("one", identity()) + "more = 1\n", "unknown member more"),
        (organisation("one", identity()).replace("keys = []\n", ""), "keys is missing"),
        (organisation("one", identity(more="1")), "unknown member more"),
        (organisation("one", '{ issuer = "https://id.example" }'), "san is missing"),
        (organisation("one", identity(san="any")), "san must be spelled out"),
        (organisation("one", identity(issuer="any")), "issuer must be spelled out"),
        (organisation("one", identity(san="https://build.example/*")), "san must be spelled out"),
        (organisation("one", identity(ref="")), "ref is empty"),
        (organisation("one", '"someone"'), "must be an object"),
        (organisation("one", "", "1"), "must be PEM text"),
        (organisation("one", "", '"key"'), "no public key in PEM"),
        (organisation("one", "", key(P384)), "neither ed25519 nor ECDSA"),
        ("organisations = [1]\n", "must be an object"),
        ('organisations = "all"\n', "must be list"),
    ],
)
def test_an_organisation_that_is_wrong_is_refused(text: str, problem: str) -> None:
    refused(problem, text)


def test_an_rsa_key_is_refused() -> None:
    public = rsa.RSAPublicNumbers(65537, (1 << 2047) + 1).public_key()
    refused("neither ed25519 nor ECDSA", organisation("one", "", key(public)))


def test_a_name_twice_is_refused() -> None:
    refused("occurs twice", organisation("one", identity()), organisation("one", identity(san="https://b.example")))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("", key(P256)), ("", key(P256))),
        (("", key(P256)), ("", key(P256).replace("\n", "\n\n", 1))),
        ((identity(), ""), (identity(), "")),
        ((identity(), ""), (identity(ref="any"), "")),
        ((identity(repositoryId="any"), ""), (identity(ref="any"), "")),
        ((identity(), ""), (identity(san="https://build.example/a"), "")),
        ((identity(san="https://build.example/a", ref="any-tag"), ""), (identity(), "")),
    ],
)
def test_one_signer_does_not_count_for_two(first: tuple[str, str], second: tuple[str, str]) -> None:
    refused("share a signer", organisation("one", *first), organisation("two", *second))


@pytest.mark.parametrize("change", [{"issuer": "https://x.example"}, {"san": "https://x.example"}, {"ref": "x"}])
def test_signers_that_differ_count_apart(change: dict[str, str]) -> None:
    both = organisation("one", identity()), organisation("two", identity(**change))
    assert len(trust(*both, head=HEAD.replace("k = 1", "k = 2")).organisations) == 2


def test_a_workflow_without_a_ref_needs_one_elsewhere() -> None:
    path = "https://build.example/a"
    refused("san ends without a ref", organisation("one", identity(san=path, ref="any")))
    for ref in ("main", "any-tag"):
        assert trust(organisation("one", identity(san=path, ref=ref))).organisations[0].identities[0].ref == ref


def test_identities_of_one_organisation_may_overlap() -> None:
    found = trust(organisation("one", f"{identity()}, {identity(ref='any')}"))
    assert len(found.organisations[0].identities) == 2


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_any_bytes_are_a_trust_file_or_a_format_error(data: bytes | str) -> None:
    with pytest.raises(FormatError):
        Trust.parse(data)
