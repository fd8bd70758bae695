"""Chains against roots, name and both ends of the trusted time: what is judged, what is refused, what it may cost."""

from __future__ import annotations

import ipaddress
import itertools
import time
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import assume, given
from hypothesis import strategies as st

from notary.observe.chains import DAY, NOW, Certificate, made, site
from notary.observe.keys import key_of
from pluto_measure.errors import FormatError
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.roots import Roots

HOST = "site.example"
ROOT = made("Root")
BETWEEN = made("Between", ROOT)
LEAF = site(BETWEEN, HOST, "*.wild.example", "xn--bcher-kva.example")
ROOTS = Roots.load(made("Other root").pem + ROOT.pem)


def judge(*chain: Certificate, host: str = HOST, at: tuple[int, int] = (NOW, NOW), roots: Roots = ROOTS) -> Any:
    return roots.judge(tuple(one.der for one in chain), host, at)


def refused(*chain: Certificate, code: str = "certificate", **changes: Any) -> str:
    with pytest.raises(ObserveError) as caught:
        judge(*chain, **changes)
    assert caught.value.code == code
    assert not any(word in caught.value.problem for word in ("site.example", "Between", "Root"))
    return caught.value.problem


# Paths ---------------------------------------------------------------------------------------------------------------


def test_a_chain_to_a_root_gives_the_key_of_the_site() -> None:
    assert judge(LEAF, BETWEEN) == key_of(LEAF.key).public_key()
    assert judge(site(ROOT, HOST)) == key_of(LEAF.key).public_key()


def test_order_doublings_roots_and_strangers_do_not_matter() -> None:
    stranger = made("Stranger")
    twin = made("Stranger", ROOT)
    for rest in itertools.permutations((BETWEEN, BETWEEN, ROOT, stranger, twin)):
        assert judge(LEAF, *rest)


def test_certificates_by_themselves_are_left_out_however_many_have_a_name() -> None:
    themselves = [made("Stranger") for _ in range(4)] + [made("Between", key=BETWEEN.key) for _ in range(3)]
    assert judge(LEAF, *themselves, BETWEEN)
    refused(LEAF, *themselves)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6])
def test_authorities_between_are_found_up_to_the_depth(length: int) -> None:
    chain = [ROOT]
    for number in range(length):
        chain.append(made(f"Between {number}", chain[-1]))
    chain.append(site(chain[-1], HOST))
    assert judge(*chain[:0:-1])


def test_a_longer_path_is_refused() -> None:
    chain = [ROOT]
    for number in range(7):
        chain.append(made(f"Between {number}", chain[-1]))
    chain.append(site(chain[-1], HOST))
    refused(*chain[:0:-1])


def test_of_two_certificates_of_an_authority_either_may_lead_to_a_root() -> None:
    elsewhere = made("Between", made("Unknown root"))
    assert judge(LEAF, elsewhere, BETWEEN)
    assert judge(LEAF, BETWEEN, elsewhere)
    refused(LEAF, elsewhere)


@pytest.mark.parametrize(
    "chain",
    [
        (LEAF,),  # no way
        (BETWEEN,),  # an authority is no site
        (LEAF, made("Between", ROOT, key="p256.another")),
        (site(made("Root", key="p256.false root"), HOST),),
        (site(BETWEEN, HOST, signed_by="p256.nobody"), BETWEEN),
        (LEAF, made("Between", ROOT, signed_by="p256.nobody")),
        (made("site", authority=False, names=(HOST,)),),  # by itself
        (LEAF, made("Between", ROOT, authority=False)),
        (LEAF, made("Between", ROOT, uses=("crl_sign",))),
        (LEAF, made("Between", ROOT, unknown_critical=True)),
        (site(BETWEEN, HOST, unknown_critical=True), BETWEEN),
        (site(BETWEEN, HOST, purpose=ExtendedKeyUsageOID.CLIENT_AUTH), BETWEEN),
        (site(BETWEEN, HOST, purpose=ExtendedKeyUsageOID.CODE_SIGNING), BETWEEN),
        (made("site", BETWEEN, names=(HOST,)), BETWEEN),  # an authority with a site's name
        (site(BETWEEN, HOST, algorithm=hashes.SHA224()), BETWEEN),
    ],
    ids=range(15),
)
def test_what_leads_to_no_root_by_the_rules_is_refused(chain: tuple[Certificate, ...]) -> None:
    refused(*chain)


def test_a_path_length_holds() -> None:
    short = made("Short", ROOT, path_length=0)
    assert judge(site(short, HOST), short)
    below = made("Below", short)
    refused(site(below, HOST), below, short)


def test_a_root_of_a_client_is_none_of_ours() -> None:
    root = made("Root of a client")
    refused(site(root, HOST), root)
    assert judge(site(root, HOST), root, roots=Roots.load(root.pem))


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [HOST, "a.wild.example", "xn--bcher-kva.example"])
def test_a_name_of_the_certificate_is_one(host: str) -> None:
    assert judge(LEAF, BETWEEN, host=host)


@pytest.mark.parametrize(
    "host",
    [
        *("other.example", "www.site.example", "example", "site.example.evil", "xsite.example"),
        *("wild.example", "a.b.wild.example", "*.wild.example", "a.wild.example.evil", ".wild.example"),
        *("bcher-kva.example", "xn--bcher.example", "site", "site.example."),
    ],
)
def test_weakness_29_another_name_is_refused(host: str) -> None:
    refused(LEAF, BETWEEN, host=host)


@pytest.mark.parametrize("names", [("*",), ("*.example",), ("s*.example",), ("site.*",), ("*.*.example",)])
def test_wildcards_stand_for_one_first_label_and_no_part_of_one(names: tuple[str, ...]) -> None:
    leaf = site(BETWEEN, *names)
    if names == ("*.example",):
        assert judge(leaf, BETWEEN)
    else:
        refused(leaf, BETWEEN)


def test_a_common_name_is_no_name_and_an_address_neither() -> None:
    refused(site(BETWEEN, subject=HOST), BETWEEN)
    refused(site(BETWEEN, "other.example", subject=HOST), BETWEEN)
    refused(site(BETWEEN, addresses=(ipaddress.ip_address("192.0.2.1"),)), BETWEEN, host="192.0.2.1")


def test_constraints_of_names_hold() -> None:
    def below(permitted: list[str] | None, excluded: list[str] | None) -> Certificate:
        sides = [None if side is None else list(map(x509.DNSName, side)) for side in (permitted, excluded)]
        return made("Between", ROOT, constraints=x509.NameConstraints(*sides))

    leaf = site(BETWEEN, HOST, "www.example")
    assert judge(leaf, below(["example"], None))
    assert judge(leaf, below([HOST, "www.example"], None))
    assert judge(leaf, below(None, ["other.example"]))
    refused(leaf, below(["other.example"], None))
    refused(leaf, below([HOST], None))  # the certificate has further names
    refused(leaf, below(None, ["www.example"]))
    refused(leaf, below(["example"], [HOST]))
    refused(LEAF, below(None, ["wild.example"]))


# Time ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["leaf", "between", "root"])
def test_each_certificate_holds_at_both_ends_of_the_time(which: str) -> None:
    first, last = NOW - 10, NOW + 10
    dates: dict[str, Any] = {"first": first, "last": last}
    root = made("Dated root", **(dates if which == "root" else {}))
    between = made("Dated", root, **(dates if which == "between" else {}))
    leaf = site(between, HOST, **(dates if which == "leaf" else {}))
    roots = Roots.load(root.pem)
    for at in ((first, last), (first, first), (last, last), (NOW, NOW)):
        assert judge(leaf, between, at=at, roots=roots)
    for at in ((first - 1, last), (first, last + 1), (first - 1, last + 1), (last + 1, last + 1), (0, 0)):
        refused(leaf, between, at=at, roots=roots)


def test_the_dates_are_named_where_they_are_what_is_wrong() -> None:
    problem = "a certificate is not valid at the trusted time"
    assert refused(LEAF, BETWEEN, at=(NOW, NOW + 101 * DAY)) == problem
    assert refused(LEAF, BETWEEN, at=(NOW - 101 * DAY, NOW)) == problem
    assert refused(LEAF, BETWEEN, host="other.example") != problem


# Two searches and one ------------------------------------------------------------------------------------------------

TIMES = (NOW - 20, NOW - 10, NOW, NOW + 10, NOW + 20)


@st.composite
def spans(draw: st.DrawFn) -> tuple[int, int]:
    first, last = sorted((draw(st.sampled_from(TIMES)), draw(st.sampled_from(TIMES))))
    return first, last


@given(*[spans() for _ in range(6)])
def test_accepted_is_what_is_accepted_at_the_one_end_and_at_the_other(
    leaf: tuple[int, int],
    one: tuple[int, int],
    two: tuple[int, int],
    root: tuple[int, int],
    old: tuple[int, int],
    at: tuple[int, int],
) -> None:
    """Two paths, over two certificates of one authority to two roots, each of which may end in between."""

    def dated(dates: tuple[int, int]) -> dict[str, Any]:
        return {"first": dates[0], "last": dates[1]}

    new_root, old_root = made("New root", **dated(root)), made("Old root", **dated(old))
    over = (made("Over", new_root, **dated(one)), made("Over", old_root, **dated(two)))
    chain = (site(over[0], HOST, **dated(leaf)), *over)
    roots = Roots.load(new_root.pem + old_root.pem)

    def holds(at: tuple[int, int]) -> bool:
        try:
            judge(*chain, at=at, roots=roots)
        except ObserveError:
            return False
        return True

    assert holds(at) == (holds((at[0], at[0])) and holds((at[1], at[1])))


def test_another_path_may_hold_at_the_later_time() -> None:
    old = made("Old root", last=NOW)
    over = (made("Over", old), made("Over", ROOT))
    roots = Roots.load(old.pem + ROOT.pem)
    for chain in (over, over[::-1]):
        assert judge(site(over[0], HOST), *chain, at=(NOW, NOW + 1), roots=roots)
    refused(site(over[0], HOST), over[0], at=(NOW, NOW + 1), roots=roots)


# Keys ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096", "ed25519"])
def test_keys_that_sign_handshakes(kind: str) -> None:
    key = judge(site(BETWEEN, HOST, key=kind), BETWEEN)
    assert key == key_of(kind).public_key()


@pytest.mark.parametrize("kind", ["rsa1024", "rsa8200", "k256", "dsa"])
def test_other_keys_are_refused(kind: str) -> None:
    """Too weak, or so large that checking a signature takes long, or of another kind."""
    refused(site(BETWEEN, HOST, key=kind), BETWEEN, code="unsupported")


def test_a_key_of_an_unknown_curve_is_refused() -> None:
    """The curve's number in a certificate is another, and it is signed once more."""
    honest = site(BETWEEN, HOST, key="k256").value
    body = honest.tbs_certificate_bytes.replace(bytes.fromhex("2b8104000a"), bytes.fromhex("2b81040063"))
    assert body != honest.tbs_certificate_bytes
    signature = key_of(BETWEEN.key).sign(body, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    whole = body + algorithm + b"\x03" + bytes([len(signature) + 1]) + b"\0" + signature
    leaf = b"\x30\x82" + len(whole).to_bytes(2, "big") + whole
    with pytest.raises(ObserveError) as caught:
        ROOTS.judge((leaf, BETWEEN.der), HOST, (NOW, NOW))
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize("uses", [("key_encipherment",), ("key_agreement", "content_commitment")])
def test_a_key_that_must_not_sign_is_refused(uses: tuple[str, ...]) -> None:
    refused(site(BETWEEN, HOST, uses=uses), BETWEEN)


def test_a_certificate_that_does_not_say_what_its_key_is_for_may_sign() -> None:
    assert judge(site(BETWEEN, HOST, uses=()), BETWEEN)


# Bounds --------------------------------------------------------------------------------------------------------------


def test_chains_are_bounded() -> None:
    refused()
    strangers = [made(f"Stranger {number}") for number in range(9)]
    assert judge(LEAF, BETWEEN, *strangers[:8])
    refused(LEAF, BETWEEN, *strangers)
    refused(site(BETWEEN, *(f"a{number}.{'b' * 60}.example" for number in range(300)), HOST), BETWEEN)


def test_no_more_than_two_certificates_of_one_authority_once() -> None:
    again = [made("Between", ROOT) for _ in range(2)]
    assert judge(LEAF, BETWEEN, again[0])
    refused(LEAF, BETWEEN, *again)
    more = [made("More", ROOT) for _ in range(2)]
    refused(LEAF, BETWEEN, again[0], *more)


def test_the_worst_chain_costs_little() -> None:
    """Authorities that certify one another in a circle, each step in two ways, and lead to no root."""
    a, b = made("A", key="rsa4096.a"), made("B", key="rsa4096.b")
    circle = [made("A", b, key="rsa4096.a"), made("A", b, key="rsa4096.a"), made("B", a, key="rsa4096.b")]
    leaf = site(a, HOST)
    best = 1.0
    for _ in range(3):
        started = time.process_time()
        refused(leaf, *circle)
        best = min(best, time.process_time() - started)
    assert best < 0.05


ANOTHER_VERSION = LEAF.der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020105"), 1)


@pytest.mark.parametrize(
    "der",
    [b"", b"\x30", b"\x30\0", b"no certificate", LEAF.der[:-1], LEAF.der + b"\0", LEAF.pem, ANOTHER_VERSION],
)
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    for chain in ((der, BETWEEN.der), (LEAF.der, BETWEEN.der, der)):
        with pytest.raises(ObserveError) as caught:
            ROOTS.judge(chain, HOST, (NOW, NOW))
        assert caught.value.code == "certificate"


FAR = site(BETWEEN, HOST, last=2_600_000_000)  # which DER writes with four digits of the year


@pytest.mark.parametrize(
    "odd",
    [LEAF.der.replace(b"\x0c\x04site", b"\x03\x04\0ite"), FAR.der.replace(b"\x18\x0f2052", b"\x18\x0f0000")],
    ids=["a name of bits", "a year that is none"],
)
def test_what_is_read_late_is_refused_too(odd: bytes) -> None:
    assert odd not in (LEAF.der, FAR.der)
    x509.load_der_x509_certificate(odd)
    for chain in ((odd, BETWEEN.der), (LEAF.der, BETWEEN.der, odd)):
        with pytest.raises(ObserveError) as caught:
            ROOTS.judge(chain, HOST, (NOW, NOW))
        assert caught.value.code == "certificate"


@pytest.mark.filterwarnings("ignore")
@given(st.integers(0, 1), st.integers(0, 700), st.integers(1, 255))
def test_a_changed_byte_is_refused(which: int, at: int, change: int) -> None:
    chain = [LEAF.der, BETWEEN.der]
    at %= len(chain[which])
    signature = (LEAF, BETWEEN)[which].value.signature
    # How many bits before the signature's end are none, outside of what is signed: some may be, where they are zero.
    assume(at != len(chain[which]) - len(signature) - 1)
    chain[which] = chain[which][:at] + bytes([chain[which][at] ^ change]) + chain[which][at + 1 :]
    with pytest.raises(ObserveError):
        ROOTS.judge(tuple(chain), HOST, (NOW, NOW))


@pytest.mark.parametrize("pem", [b"", b"no certificates", LEAF.der, LEAF.pem[:-40]])
def test_roots_are_certificates_in_pem(pem: bytes) -> None:
    with pytest.raises(FormatError, match="roots"):
        Roots.load(pem)
