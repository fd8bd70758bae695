"""`pluto-measure collateral`: fetch, import, export and show, with a pretend Intel on loopback."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from pluto_measure.cli import main
from pluto_measure.collateral.store import Store
from pluto_measure.collateral.transport import BrokenError, Transport
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.collateral_bundle import Bundle
from pluto_measure.verify import intel_pki
from simulators.intel import (
    MODULE_LEVELS,
    NOW,
    PLATFORM_LEVELS,
    Authority,
    ModuleIdentity,
    SvnLevel,
    collateral,
    healthy,
    qe_identity,
    tcb_info,
    world,
)
from simulators.intel.der import Machine
from simulators.pcs_server import Fault, Service, serving

ROOT = Path(__file__).resolve().parents[3]
AUTHORITY = Authority.make()
FMSPC = Machine.fmspc
HEX = FMSPC.hex()
STANDARD = healthy().collateral
# The level that is up to date today goes out of date; a module level comes, one goes; the QE's changes.
EARLY_LEVELS = (
    PLATFORM_LEVELS[0],
    type(PLATFORM_LEVELS[0])(PLATFORM_LEVELS[1].sgx, status="OutOfDate", date=PLATFORM_LEVELS[1].date),
    *PLATFORM_LEVELS[2:],
)
EARLY = collateral(
    AUTHORITY,
    info=tcb_info(
        evaluation=21,
        levels=EARLY_LEVELS,
        modules=(ModuleIdentity(3, (SvnLevel(9), *MODULE_LEVELS[:2])), ModuleIdentity(1)),
    ),
    identity=qe_identity(evaluation=21, levels=(SvnLevel(8, "OutOfDate"),)),
)
OLD = collateral(AUTHORITY, info=tcb_info(evaluation=19))
AT = ["--at", "2026-11-20T12:00:00Z"]
REAL_ROOTS = intel_pki.INTEL_ROOTS


@pytest.fixture(autouse=True)
def pretend_intel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intel_pki, "INTEL_ROOTS", frozenset({hashlib.sha256(AUTHORITY.root_der).digest()}))


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(STANDARD, EARLY) as made:
        yield made


class Called:
    """One call of the program: exit code, JSON, stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: object) -> None:
        self.code = main(["collateral", *map(str, words), "--json"])
        out, self.err = capsys.readouterr()
        self.document: Any = json.loads(out)


def write(folder: Path, common: Any, name: str = "collateral.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(common))
    return path


def fetch(service: Service, *more: object) -> list[object]:
    return ["fetch", "--fmspc", HEX.upper(), "--ca", "platform", "--url", service.url, *more]


def test_fetched_collateral_is_kept_and_written(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, out = tmp_path / "state", tmp_path / "bundle.json"
    called = Called(capsys, *fetch(service, "--state", state, "--out", out))
    assert called.code == 0
    assert called.document["wrote"] == [str(state), str(out)]
    (family,) = called.document["families"]
    assert (family["fmspc"], family["ca"]) == (HEX, "platform")
    assert family["standard"]["problems"] == family["early"]["problems"] == []
    bundle = Bundle.parse(out.read_bytes())
    assert bundle.collateral(FMSPC, "platform") == Collateral.parse(json.dumps(STANDARD).encode())
    assert Store(state).bundle(FMSPC, "platform") == bundle
    assert Store(state).memory().tcb_infos[HEX].number == 20, "the early update is not remembered"


def test_a_quote_says_what_to_fetch(service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quote = tmp_path / "quote.hex"
    quote.write_text(healthy().quote.hex())
    words = ["fetch", "--quote", quote, "--url", service.url, "--state", tmp_path / "state"]
    assert Called(capsys, *words).code == 0
    assert Store(tmp_path / "state").families() == ((FMSPC, "platform"),)
    other = Called(capsys, *words, "--ca", "processor")
    assert (other.code, other.document["error"]["kind"]) == (2, "UsageError")
    foreign = tmp_path / "foreign.dat"
    foreign.write_bytes(world(authority=Authority.make(1)).quote)
    called = Called(capsys, "fetch", "--quote", foreign, "--url", service.url, "--out", tmp_path / "x")
    assert called.code == 4
    assert "its PCK certificate is not Intel's" in called.err


@pytest.mark.parametrize(("update", "asked"), [("standard", [None, None]), ("early", ["early"] * 2)])
def test_one_update_alone(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str], update: str, asked: list[str | None]
) -> None:
    out = tmp_path / "bundle.json"
    assert Called(capsys, *fetch(service, "--update", update, "--out", out)).code == 0
    assert [one.query.get("update") for one in service.asked[2:]] == asked
    assert {one.update for one in Bundle.parse(out.read_bytes()).documents} == {"", update}


def test_an_evaluation_by_number_goes_to_a_file_alone(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = fetch(service, "--evaluation-number", 19)
    assert Called(capsys, *words, "--out", tmp_path / "bundle.json").code == 0
    assert [one.query.get("tcbEvaluationDataNumber") for one in service.asked[2:]] == ["19", "19"]
    assert Called(capsys, *words, "--state", tmp_path / "state").code == 2
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["fetch", "--fmspc", HEX, "--ca", "platform"],
        ["fetch", "--fmspc", HEX, "--out", "x"],
        ["fetch", "--fmspc", "30a06f", "--ca", "platform", "--out", "x"],
        ["fetch", "--fmspc", HEX, "--quote", "x", "--out", "x"],
        ["fetch", "--fmspc", HEX, "--ca", "platform", "--update", "early", "--state", "x"],
        ["fetch", "--fmspc", HEX, "--ca", "platform", "--out", "x", "--evaluation-number", "-1"],
        ["fetch", "--fmspc", HEX, "--ca", "platform", "--out", "x", "--url", "http://pccs.example"],
        ["fetch", "--fmspc", HEX, "--ca", "platform", "--out", "x", "--tls-ca", "no-such-file"],
        ["fetch", "--fmspc", HEX, "--ca", "platform", "--out", "x", "--tls-ca", __file__],
        ["fetch", "--ca", "platform", "--out", "x"],
        ["import", "x"],
        ["import", "no-such-file", "--state", "x"],
        ["export", "--fmspc", HEX, "--state", "no-such-folder", "--out", "x"],
        ["show"],
        ["show", "x", "--state", "x"],
        [],
    ],
)
def test_calls_that_cannot_work(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    called = Called(capsys, *words)
    assert (called.code, called.document["error"]["kind"]) == (2, "UsageError")


def test_tls_certificates_may_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = []

    def get(transport: Any, url: str, _: float) -> None:
        contexts = [one._context for one in transport._opener.handlers if hasattr(one, "_context")]
        trusted.extend(contexts[0].get_ca_certs(binary_form=True))
        raise BrokenError(f"asked {url}", final=True)

    monkeypatch.setattr(Transport, "get", get)
    pem = tmp_path / "ca.pem"
    pem.write_text(AUTHORITY.chain_pem("root"))
    words = ["fetch", "--fmspc", HEX, "--ca", "platform", "--out", tmp_path / "x", "--url", "https://pccs.example"]
    called = Called(capsys, *words, "--tls-ca", pem)
    assert (called.code, called.document["error"]["kind"]) == (6, "NoAnswerError")
    assert AUTHORITY.root_der in trusted


def tampered(**members: str) -> dict[str, Any]:
    return {**STANDARD, **members}


@pytest.mark.parametrize(
    ("standard", "early", "finding"),
    [
        (tampered(tcb_info=STANDARD["tcb_info"].replace('"OutOfDate"', '"UpToDate"')), EARLY, "collateral.tcb_info"),
        (tampered(root_ca_crl=Authority.make(1).crl("root").hex()), EARLY, "collateral.root_crl"),
        (tampered(pck_crl=Authority.make(1).crl("platform").hex()), EARLY, "collateral.pck_crl"),
        (
            STANDARD,
            {**EARLY, "qe_identity": EARLY["qe_identity"].replace("OutOfDate", "UpToDate")},
            "collateral.qe_identity",
        ),
    ],
)
def test_what_is_not_intels_is_refused_and_nothing_is_written(
    standard: Any, early: Any, finding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, out = tmp_path / "state", tmp_path / "out"
    with serving(standard, early) as service:
        called = Called(capsys, *fetch(service, "--state", state, "--out", out))
    assert called.code == 4
    failed = [one["id"] for one in called.document["error"]["findings"] if one["verdict"] == "fail"]
    assert len(failed) == 1
    assert failed[0].startswith(finding)
    assert not state.exists()
    assert not out.exists()


def test_a_service_that_fails_is_named(service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service.faults = {"tcb": [Fault.NOT_FOUND]}
    called = Called(capsys, *fetch(service, "--out", tmp_path / "out"))
    assert (called.code, called.document["error"]["status"]) == (6, 404)
    assert f"TCB info (standard) of FMSPC {HEX}: {service.url}/tdx" in called.err


def test_the_list_of_another_ca_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(collateral(AUTHORITY, "processor"), EARLY) as service:
        called = Called(capsys, *fetch(service, "--state", tmp_path / "state"))
    assert called.code == 4
    assert "the processor CA, not for" in called.err


def test_older_collateral_is_refused(service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    assert Called(capsys, *fetch(service, "--state", state)).code == 0
    for words in (["import", write(tmp_path, OLD), "--state", state], fetch(service, "--state", state)):
        service.standard = OLD
        called = Called(capsys, *words)
        assert (called.code, called.document["error"]["kind"]) == (5, "RolledBackError")
        assert called.document["error"]["rollbacks"][0]["document"] == "TCB info"
    assert Store(state).memory().tcb_infos[HEX].number == 20


def test_import_of_either_form_and_export_of_either(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state, out = tmp_path / "state", tmp_path / "out.json"
    assert Called(capsys, "import", write(tmp_path, OLD), "--state", state).code == 0
    common = Collateral.parse(json.dumps(STANDARD).encode())
    bundle = tmp_path / "bundle.json"
    bundle.write_text(Bundle.of_collateral(common, ca="platform", fetched_at=NOW).to_text())
    called = Called(capsys, "import", bundle, "--state", state)
    assert (called.code, called.document["wrote"]) == (0, [str(state)])
    called = Called(capsys, "export", "--fmspc", HEX, "--state", state, "--out", out)
    assert called.document == {"wrote": [str(out)], "fmspc": HEX, "ca": "platform"}
    assert Bundle.parse(out.read_bytes()) == Bundle.parse(bundle.read_bytes())
    assert Called(capsys, "export", "--fmspc", HEX, "--state", state, "--out", out, "--common").code == 0
    assert json.loads(out.read_text()) == STANDARD


def test_real_collateral_in_its_order_and_backwards(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intel_pki, "INTEL_ROOTS", REAL_ROOTS)
    folder = vectors / "quotes/derived/collateral"
    older, newer = (folder / f"b0c06f000000-{name}.json" for name in ("e19-20260629", "e20-20260813"))
    for path, code in ((older, 0), (newer, 0), (newer, 0), (older, 5)):
        assert Called(capsys, "import", path, "--state", tmp_path / "state").code == code


def test_export_of_two_cas_asks_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state, out = tmp_path / "state", tmp_path / "out.json"
    for ca in ("platform", "processor"):
        path = write(tmp_path, collateral(AUTHORITY, ca))
        assert Called(capsys, "import", path, "--state", state).code == 0
    words = ["export", "--fmspc", HEX, "--state", state, "--out", out]
    called = Called(capsys, *words)
    assert (called.code, called.document["error"]["hint"]) == (2, "give --ca")
    assert Called(capsys, *words, "--ca", "processor").document["ca"] == "processor"


def test_a_list_without_its_chain_needs_a_quote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state, path = tmp_path / "state", write(tmp_path, tampered(pck_crl_issuer_chain=""))
    quote = tmp_path / "quote.dat"
    quote.write_bytes(healthy().quote)
    called = Called(capsys, "import", path, "--state", state)
    assert called.code == 4
    assert "nothing vouches for it" in called.err
    assert not state.exists()
    assert Called(capsys, "import", path, "--quote", quote, "--state", state).code == 0
    kept = Store(state).bundle(FMSPC, "platform")
    assert kept is not None
    assert kept.collateral(FMSPC, "platform").pck_crl_chain.count(b"BEGIN CERTIFICATE") == 2
    forged = write(tmp_path, tampered(pck_crl_issuer_chain="", pck_crl=Authority.make(1).crl("platform").hex()))
    assert Called(capsys, "import", forged, "--quote", quote, "--state", state).code == 4


def test_a_bundle_without_a_family_has_nothing_to_keep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, {"format": "pluto-collateral-bundle", "version": 1, "documents": []})
    assert Called(capsys, "import", path, "--state", tmp_path / "state").code == 3
    assert Called(capsys, "show", path).document == {"families": []}


def test_late_collateral_is_kept_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = collateral(AUTHORITY, info=tcb_info(issued=NOW - timedelta(days=4000)))
    called = Called(capsys, "import", write(tmp_path, late), "--state", tmp_path / "state")
    assert called.code == 0
    assert f"warning: TCB info of FMSPC {HEX} was due for an update on 2016-" in called.err


def test_show_says_what_it_says(service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    assert Called(capsys, *fetch(service, "--state", state)).code == 0
    called = Called(capsys, "show", "--state", state, *AT)
    (family,) = called.document["families"]
    info = family["standard"]["tcbInfo"]
    assert (info["evaluationNumber"], info["ageDays"], info["expired"]) == (20, 2, False)
    assert info["levels"][0] == {
        "sgx": [9, 9, 2, 2, 3, 1, 0, 5, *[0] * 8],
        "pceSvn": 13,
        "tdx": [5, 0, 5, *[0] * 13],
        "status": "UpToDate",
        "tcbDate": "2026-05-15T00:00:00Z",
        "advisories": [],
    }
    assert list(info["modules"]) == ["TDX_03", "TDX_01"]
    assert family["standard"]["rootCrl"]["revoked"] == 0
    assert called.document["memory"]["pckCrls"]["platform"]["number"] == 1
    svns = "PCESVN 13, TDX 5.0.5"
    assert family["earlyChanges"] == [
        "TCB info: evaluation 20 becomes 21",
        f"platform at SGX 8.9.2.2.3.1.0.5, {svns}: SWHardeningNeeded becomes OutOfDate",
        "TDX_03 from SVN 9 on: UpToDate, a new level",
        "TDX_03 from SVN 3 on: Revoked so far, the level goes",
        "QE identity: evaluation 20 becomes 21",
        "quoting enclave from SVN 8 on: UpToDate becomes OutOfDate",
        "quoting enclave from SVN 6 on: OutOfDate so far, the level goes",
        "quoting enclave from SVN 4 on: Revoked so far, the level goes",
    ]


def test_show_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, tampered(tcb_info=STANDARD["tcb_info"].replace('"OutOfDate"', '"UpToDate"')))
    assert main(["collateral", "show", str(path), "--at", "2027-01-01T00:00:00Z"]) == 0
    out = capsys.readouterr().out
    assert f"FMSPC {HEX}, platform CA\n  standard\n" in out
    assert "NOT AUTHENTIC: the TCB info is not what its signer signed" in out
    assert "signed by Intel" not in out
    assert (
        "    TCB info: evaluation 20, EXPIRED\n"
        "      issued 2026-11-18T12:00:00Z (43 days old), next due 2026-12-18T12:00:00Z\n"
        "      platform\n"
        "        2026-05-15 SGX 9.9.2.2.3.1.0.5, PCESVN 13, TDX 5.0.5: UpToDate\n"
        "        2025-05-15 SGX 8.9.2.2.3.1.0.5, PCESVN 13, TDX 5.0.5: SWHardeningNeeded\n"
        "          (INTEL-SA-09101)\n"
    ) in out
    assert "      TDX module TDX_03\n        2026-04-15 SVN 7: UpToDate\n" in out
    assert "      quoting enclave\n        2026-03-15 SVN 8: UpToDate\n" in out
    assert max(map(len, out.splitlines())) <= 80
    assert out.endswith("1 set of collateral\n")
    assert main(["collateral", "show", str(path), "--at", "2026-01-01T00:00:00Z"]) == 0
    assert "(issued in the future)" in capsys.readouterr().out


def test_an_early_update_that_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    with serving(STANDARD, STANDARD) as service:
        assert main([str(word) for word in ("collateral", *fetch(service, "--state", state))]) == 0
    assert capsys.readouterr().out == f"FMSPC {HEX}, platform CA: evaluation 20\nwrote {state}\n"
    assert main(["collateral", "show", "--state", str(state), *AT]) == 0
    out = capsys.readouterr().out
    assert "  what the early update changes\n    nothing\n" in out
    assert ", fetched 20" in out
    assert out.count("standard, signed by Intel\n") == out.count("early, signed by Intel\n") == 1


def test_a_list_without_a_number_is_shown_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, tampered(pck_crl=AUTHORITY.crl("platform", number=None, revoked=[7]).hex()))
    assert Called(capsys, "show", path).document["families"][0]["standard"]["pckCrl"]["number"] is None
    assert main(["collateral", "show", str(path)]) == 0
    assert "    PCK CRL: no number, 1 certificate revoked\n" in capsys.readouterr().out


def test_a_list_without_its_chain_is_not_said_to_be_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, tampered(pck_crl_issuer_chain=""))
    assert Called(capsys, "show", path).document["families"][0]["pckCrlChain"] is False
    assert main(["collateral", "show", str(path)]) == 0
    assert "standard, signed by Intel but for the PCK CRL, which lacks its chain\n" in capsys.readouterr().out


@pytest.mark.parametrize(("more", "ca"), [([], "platform"), (["--ca", "processor"], "processor")])
def test_the_hint_of_an_export_can_be_followed(
    more: list[str],
    ca: Literal["platform", "processor"],
    service: Service,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service.standard = collateral(AUTHORITY, ca)
    state, out = tmp_path / "a state", tmp_path / "out.json"
    export = ["export", "--fmspc", HEX, "--state", state, "--out", out, *more]
    called = Called(capsys, *export)
    hint = called.document["error"]["hint"]
    assert called.code == 2
    assert hint.endswith("', or with --quote FILE")
    words = shlex.split(hint.removeprefix("run '").removesuffix("', or with --quote FILE"))
    assert words[:2] == ["pluto-measure", "collateral"]
    assert Called(capsys, *words[2:], "--url", service.url, "--update", "standard").code == 0
    assert Called(capsys, *export).document["ca"] == ca


def test_an_fmspc_of_another_length_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for value in ("b0c", "30a06f0000000", "zz" * 6):
        called = Called(capsys, "export", "--fmspc", value, "--state", "x", "--out", "x")
        assert (called.code, called.document["error"]["message"]) == (2, "--fmspc must be 12 hex digits")


def test_a_fetch_says_what_the_early_update_changes(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(word) for word in ("collateral", *fetch(service, "--out", tmp_path / "x"))]) == 0
    assert "  early update: TCB info: evaluation 20 becomes 21\n" in capsys.readouterr().out


def test_no_network_library_is_loaded_offline(tmp_path: Path) -> None:
    path = write(tmp_path, STANDARD)
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'measure')!r}); from pluto_measure.cli import main; "
    code += f"main(['collateral', 'show', {str(path)!r}]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split("\n")[-2].split())
    assert "pluto_measure.formats.collateral_bundle" in loaded
    # `cryptography.x509` itself loads `socket`, by `email.utils`.
    assert loaded & {"http.client", "ssl", "urllib.request", "asyncio", "fcntl"} == set()
