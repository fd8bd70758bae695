"""A verifier's folder: what a trust domain sends, what accepts it, and a call of `pluto-measure verify`. For tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pluto_measure.cli import main
from pluto_measure.formats.collateral_bundle import Bundle
from simulators.intel import (
    EARLY_LEVELS,
    NOW,
    Authority,
    collateral,
    healthy,
    qe_identity,
    tcb_info,
)
from simulators.policies import TDX_TEXT
from simulators.trust_domains import NONCE, OUTER_KEY, REFERENCE, TrustDomain
from simulators.verdicts import parsed

HONEST = TrustDomain()
BOUND = HONEST.claims().binding().hex()
AT = "2026-11-20T12:00:00Z"
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda quote: quote,
    "padded": lambda quote: quote + b"\0" * 3000,
    "hex": lambda quote: b"0x" + quote.hex().upper().encode() + b"\n",
    "array": lambda quote: json.dumps(list(quote)).encode(),
}
SCHEMA = json.loads(resources.files("pluto_measure").joinpath("schemas/verify.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EARLY = collateral(
    Authority.make(), info=tcb_info(evaluation=21, levels=EARLY_LEVELS), identity=qe_identity(evaluation=21)
)


class Called:
    """One call of `verify` as text and with --json: exit codes agree, the document is of its schema."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: object) -> None:
        self.code = main(["verify", *map(str, words)])
        self.out, self.err = capsys.readouterr()
        again = main(["verify", *map(str, words), "--json"])
        out, err = capsys.readouterr()
        self.document: Any = json.loads(out)
        VALIDATOR.validate(self.document)
        assert (again, err) == (self.code, self.err)
        assert "Traceback" not in self.err
        self.findings = {one["id"]: one for one in self.document.get("findings", [])}
        self.refused = {name for name, one in self.findings.items() if one["verdict"] == "fail"}


class Files:
    """A verifier's folder: what an honest trust domain sends, and all that accepts it. Each may be replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.quote = self.write("quote.bin", HONEST.quote())
        self.envelope = self.write("evidence.json", HONEST.envelope().to_text())
        self.log = self.write("ccel.bin", HONEST.log_bytes())
        self.policy = self.write("policy.toml", TDX_TEXT)
        self.reference = self.write("measurements.json", REFERENCE.to_text())
        self.collateral = self.write("collateral.json", json.dumps(healthy().collateral))

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def bare(self, *more: object, leave_out: tuple[str, ...] = ()) -> list[object]:
        """The words that accept the bare quote, less some options."""
        options = {"--report-data": BOUND, "--log": self.log, **self._common()}
        return self._words(self.quote, options, leave_out, more)

    def enveloped(self, *more: object, leave_out: tuple[str, ...] = ()) -> list[object]:
        """The words that accept the envelope, less some options."""
        options = {"--nonce": NONCE.hex(), "--key-digest": OUTER_KEY.hex(), **self._common()}
        return self._words(self.envelope, options, leave_out, more)

    def _common(self) -> dict[str, object]:
        files = {"--policy": self.policy, "--reference": self.reference, "--collateral": self.collateral}
        return {**files, "--at": AT}

    def _words(
        self, evidence: Path, options: dict[str, object], leave_out: tuple[str, ...], more: tuple[object, ...]
    ) -> list[object]:
        kept = [word for name, value in options.items() if name not in leave_out for word in (name, value)]
        return [evidence, *kept, *more]


def bundle(of: dict[str, Any] | None = None, early: dict[str, Any] | None = None) -> Bundle:
    standard = Bundle.of_collateral(parsed(of or healthy().collateral), ca="platform", fetched_at=NOW)
    if early is None:
        return standard
    documents = Bundle.of_collateral(parsed(early), ca="platform").to_json()["documents"]
    assert isinstance(documents, list)
    later = [{**one, "update": "early"} for one in documents if one["kind"] in ("tcbInfo", "qeIdentity")]
    text = json.dumps({"format": "pluto-collateral-bundle", "version": 1, "documents": later})
    return standard.merged(Bundle.parse(text.encode()))
