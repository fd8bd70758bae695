"""The notary's OpenAPI document, read by others, and the whole server asked for all that it promises."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import peers
from notary.server.shared import BODY, HOST, JSON
from pluto_measure.record import replace
from pluto_notary.limits import Limits
from pluto_notary.server import openapi
from simulators.notary import whole
from simulators.notary.certificates import Authority
from simulators.notary.sites import Site, page

pytestmark = pytest.mark.interop

# All that schemathesis can check but one: which manifests and proofs are any, a schema here does not say.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,use_after_free,"
    "ensure_resource_availability,ignored_auth"
)


@pytest.fixture(autouse=True)
def _peer() -> None:
    try:
        peers.need("openapi")
    except peers.AbsentError as error:
        pytest.skip(f"no peer: {error}")


@pytest.fixture
def notary() -> Iterator[whole.Running]:
    much = {"fetch_rate": 1e6, "verify_rate": 1e6, "evidence_rate": 1e6, "evidence_rate_of_one": 1e6}
    much |= {"fetch_burst": 10**6, "verify_burst": 10**6, "evidence_burst": 10**6, "evidence_burst_of_one": 10**6}
    authority = Authority()
    with (
        Site(authority.issue(HOST), page(BODY, JSON)) as site,
        whole.running(authority, {HOST: site}, limits=replace(Limits(), **much)) as running,
    ):
        yield running


def test_the_document_is_openapi(tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    file.write_bytes(openapi.text())
    done = peers.openapi("openapi-spec-validator", file, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = openapi.document()
    broken["paths"]["/health"]["get"]["responses"]["200"] = {}
    file.write_text(json.dumps(broken))
    assert peers.openapi("openapi-spec-validator", file, folder=tmp_path).returncode != 0, "it would find a fault"


@pytest.mark.slow
def test_the_server_is_what_its_document_says(notary: whole.Running, tmp_path: Path) -> None:
    done = peers.openapi(
        "schemathesis",
        *("run", f"https://127.0.0.1:{notary.port}/openapi.json", "--tls-verify=false", "--no-color"),
        *("--phases", "coverage,fuzzing", "--checks", CHECKS, "--max-examples", 15, "--seed", 1),
        *("--generation-database", "none", "--report-dir", tmp_path),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested is not None
    assert int(tested[1]) == len(openapi.document()["paths"]) - 1, "all but the document"
    assert "internal" not in notary.codes
    assert {"json", "query", "method", "http"} <= set(notary.codes), "much was tried"
