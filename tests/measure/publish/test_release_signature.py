"""What one signature file is worth: only a trusted key over these very bytes counts, and no file can do harm."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError, UsageError, VerificationError
from pluto_measure.publish.dsse import Envelope, signed
from pluto_measure.publish.keys import PrivateKey, key_id
from pluto_measure.publish.signature import Signature, appraise, first_difference
from pluto_measure.publish.trust import Trust
from simulators.releases import (
    ED25519,
    KEYS,
    OTHER,
    P256,
    SECP256K1,
    TEXT,
    THREE,
    TRUST,
    no_bundle,
    provenance,
    statement,
    trust_text,
)

FILE = "signatures/x.dsse.json"
SHORT = TEXT[:50]  # for tests of every byte


def worth(data: bytes | str | Envelope, payload: bytes = TEXT, trust: Trust = TRUST) -> Signature:
    text = data.to_text() if isinstance(data, Envelope) else data
    return appraise(FILE, text.encode() if isinstance(text, str) else text, payload, trust, no_bundle)


def by(key: PrivateKey, payload: bytes = TEXT) -> Envelope:
    return signed(payload, key)


def other_release(**changes: Any) -> bytes:
    return statement(**changes).to_text().encode()


@pytest.mark.parametrize("kind", KEYS)
def test_a_trusted_key_over_these_very_bytes_counts(kind: str) -> None:
    key = KEYS[kind]
    trust = Trust.parse(trust_text(OTHER, key, k=1))
    found = worth(by(key), trust=trust)
    assert found == Signature(FILE, "counts", key_id(key.public_key()), "two", "two signed this release")


class TestWhoSigned:
    def test_a_key_that_nobody_named(self) -> None:
        found = worth(by(OTHER))
        assert (found.worth, found.organisation) == ("unknown", None)
        assert found.text == "the key is not in the trust file"

    @pytest.mark.parametrize("cut", [0, 1, 16, 63, 65])
    def test_a_keyid_that_only_shares_a_prefix(self, cut: int) -> None:
        name = key_id(ED25519.public_key())
        assert worth(replace(by(ED25519), keyid=(name + "0")[:cut])).worth == "unknown"

    def test_a_keyid_in_another_spelling(self) -> None:
        assert worth(replace(by(ED25519), keyid=key_id(ED25519.public_key()).upper())).worth == "unknown"

    def test_a_keyid_is_nobodys_word(self) -> None:
        """Mallory signs and says that it was the publisher."""
        found = worth(replace(by(OTHER), keyid=key_id(ED25519.public_key())))
        assert (found.worth, found.organisation) == ("invalid", "one")
        assert found.text == "is no signature of one's key over its payload"

    def test_the_signature_of_one_trusted_key_under_the_name_of_another(self) -> None:
        for key, name in ((P256, ED25519), (ED25519, P256), (SECP256K1, P256)):
            swapped = replace(by(key), keyid=key_id(name.public_key()))
            assert worth(swapped, trust=THREE).worth == "invalid"

    def test_organisations_whose_names_share_a_prefix_are_two(self) -> None:
        text = trust_text(ED25519, OTHER).replace('"two"', '"one and more"')
        assert worth(by(OTHER), trust=Trust.parse(text)).organisation == "one and more"
        assert worth(by(ED25519), trust=Trust.parse(text)).organisation == "one"

    def test_one_key_under_two_names_is_refused_before_it_counts_twice(self) -> None:
        with pytest.raises(FormatError, match="'one' and 'two' share a signer, who would count twice"):
            Trust.parse(trust_text(ED25519, ED25519))

    def test_an_organisation_without_keys_signs_nothing(self) -> None:
        identity = '{ issuer = "https://id.example", san = "https://b.example/a@r", repositoryId = "1", ref = "r" }'
        text = trust_text(identities=identity)
        assert worth(by(ED25519), trust=Trust.parse(text)).worth == "unknown"
        with pytest.raises(FormatError, match="neither an identity nor a key"):
            Trust.parse(text.replace(identity, ""))


class TestWhatWasSigned:
    def test_other_bytes_for_the_same_release_are_a_disagreement(self) -> None:
        files = {"disk.raw": b"other", "pluto.efi": b"x"}
        found = worth(by(ED25519, other_release(files=files)))
        assert (found.worth, found.organisation) == ("disagrees", "one")
        assert found.text == "one signed other bytes for this release: /subject differs"
        other = json.loads(TEXT)
        other["subject"][0]["digest"]["sha256"] = "00" * 32
        found = worth(by(ED25519, json.dumps(other).encode()))
        assert found.text == "one signed other bytes for this release: /subject/disk.raw/digest/sha256 differs"

    def test_a_statement_that_is_not_read_here_disagrees_all_the_same(self) -> None:
        """Of a later version, say: it is about this release, and it is not these bytes."""
        document = json.loads(TEXT)
        document["predicate"] |= {"components": [], "new": 1}
        found = worth(by(ED25519, json.dumps(document).encode()))
        assert found.worth == "disagrees"
        assert ": /predicate/components differs" in found.text

    def test_the_place_of_the_difference_is_named(self) -> None:
        found = worth(by(ED25519, other_release(build_id="ab" * 32)))
        assert found.text.endswith(": /predicate/buildId differs")
        other = json.loads(TEXT)
        other["predicate"]["platforms"][0]["shape"]["extra"] = 1
        assert worth(by(ED25519, json.dumps(other).encode())).text.endswith("/shape/extra is in one of them only")

    @pytest.mark.parametrize("change", [{"sequence": 6}, {"channel": "beta"}, {"name": "another"}])
    def test_another_release_is_something_else(self, change: dict[str, Any]) -> None:
        found = worth(by(ED25519, other_release(**change)))
        assert (found.worth, found.text) == (
            "other",
            "one signed something else, which says nothing of this release",
        )

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"text",
            TEXT[:-1],
            TEXT + b"\n",
            TEXT.replace(b"release/v1", b"release/v1/"),
            json.dumps(json.loads(TEXT)).encode(),
            provenance().to_text().encode(),
        ],
        ids=["nothing", "text", "cut", "a line more", "predicate", "same content", "provenance"],
    )
    def test_only_the_very_bytes_count(self, payload: bytes) -> None:
        """Nor do other bytes with the same content: readers might differ on what they say."""
        assert worth(by(ED25519, payload)).worth == "other"

    def test_a_signature_is_over_the_payload_in_it(self) -> None:
        """Taking the signature of another release to this one."""
        taken = replace(by(ED25519, other_release(sequence=6)), payload=TEXT)
        assert worth(taken).worth == "invalid"


class TestEnvelopes:
    def test_several_signatures_in_one_file(self) -> None:
        document = by(ED25519).to_json()
        both = [*document["signatures"], *by(P256).to_json()["signatures"]]  # type: ignore[misc]
        found = worth(json.dumps({**document, "signatures": both}), trust=THREE)
        assert (found.worth, found.text) == ("invalid", f"{FILE}: holds 2 signatures, not one")

    def test_members_that_occur_twice(self) -> None:
        for name in ('"payload":', '"keyid":', '"signatures":'):
            text = by(ED25519).to_text().replace(name, f"{name} 1, {name}")
            assert "key occurs twice" in worth(text).text

    @pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"\0" * 1000])
    def test_garbage_is_named_and_harmless(self, data: bytes) -> None:
        found = worth(data)
        assert (found.worth, found.organisation, found.signer) == ("invalid", None, "")
        assert found.text.startswith(FILE)

    @pytest.mark.parametrize("kind", KEYS)
    def test_no_changed_byte_counts_but_white_space(self, kind: str) -> None:
        key = KEYS[kind]
        trust, text = Trust.parse(trust_text(key)), by(key, SHORT).to_text().encode()
        assert worth(text, SHORT, trust).worth == "counts"
        for place in range(len(text)):
            for bits in (0x01, 0x02, 0x20, 0x80, 0x29, 0xFF):
                changed = bytearray(text)
                changed[place] ^= bits
                found = worth(bytes(changed), SHORT, trust)
                assert found.worth in ("invalid", "unknown") or text[place : place + 1] in b" \n", (place, bits)

    @settings(max_examples=50)
    @given(st.binary(max_size=200))
    def test_any_bytes_have_a_worth(self, data: bytes) -> None:
        assert worth(data).worth == "invalid"


class Bundle:
    """What somebody's opener of bundles gives."""

    payload_type, payload, certificate = "application/vnd.in-toto+json", TEXT, b"no certificate"
    signed_at = datetime(2026, 11, 2, tzinfo=UTC)


class TestBundles:
    """That they hold, and who signed: `test_keyless*.py`, `test_certificate_identity.py`; in a call:
    `test_release_command.py`."""

    def of(self, opened: object) -> Signature:
        def open_bundle(_: bytes) -> Any:
            if isinstance(opened, Exception):
                raise opened
            return opened

        return appraise("signatures/b.json", b'{"mediaType": "x"}', TEXT, TRUST, open_bundle)

    def test_one_that_does_not_hold_is_invalid_with_its_reason(self) -> None:
        for error in (VerificationError("sigstore.time: too late"), FormatError("sigstore bundle", "is odd")):
            assert self.of(error) == Signature("signatures/b.json", "invalid", "", None, str(error))

    def test_a_payload_of_another_type_and_a_certificate_that_is_none(self) -> None:
        odd = Bundle()
        odd.payload_type = "text/plain"
        assert "payload type 'text/plain' is not" in self.of(odd).text
        assert self.of(Bundle()).worth == "invalid"

    def test_without_the_library_nobody_knows_who_signed(self) -> None:
        """And whoever can add a file must not be able to block."""
        found = self.of(UsageError("sigstore is not installed", hint="pip install it"))
        assert (found.worth, found.organisation) == ("unknown", None)
        assert found.text == "cannot be looked at: sigstore is not installed (pip install it)"

    def test_other_errors_are_not_swallowed(self) -> None:
        with pytest.raises(ZeroDivisionError):
            self.of(ZeroDivisionError())


class TestFirstDifference:
    @pytest.mark.parametrize(
        ("theirs", "ours", "place"),
        [
            ({}, {}, ""),
            ({"a": 1}, {"a": 1}, ""),
            (1, 2, " differs"),
            ({"a": 1}, {"a": "1"}, "/a differs"),
            ({"a": 1}, {}, "/a is in one of them only"),
            ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "/a/1/b differs"),
            ({"a": [1]}, {"a": [1, 2]}, "/a differs"),
            ([{"name": "x", "v": 1}], [{"name": "x", "v": 2}], "/x/v differs"),
            ([{"id": "y", "v": 1}], [{"id": "y", "v": 2}], "/y/v differs"),
            ([{"name": 7, "v": 1}], [{"name": 7, "v": 2}], "/0/v differs"),
            ({"a": {}}, {"a": []}, "/a differs"),
            ({"a": None}, {"a": None}, ""),
            ({"a": 1}, {"a": True}, "/a differs"),
            ({"a": 1}, {"a": 1.0}, "/a differs"),
        ],
    )
    def test_it_is_a_pointer(self, theirs: object, ours: object, place: str) -> None:
        assert first_difference(theirs, ours) == place

    def test_it_is_fit_for_a_terminal(self) -> None:
        found = first_difference({"\x1b[2J" + "x" * 1000: 1}, {})
        assert found.isprintable()
        assert len(found) < 300

    def test_values_nested_as_deeply_as_json_allows(self) -> None:
        deep = json.loads("[" * 900 + "1" + "]" * 900)
        assert first_difference(deep, deep) == "they are nested too deeply to be compared"

    @given(st.recursive(st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
    def test_equal_values_have_none(self, value: object) -> None:
        assert first_difference(value, json.loads(json.dumps(value))) == ""
