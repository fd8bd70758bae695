"""A pretend Sigstore that answers: the requests of a real client, taken before they reach a network. For tests alone.

Fulcio's and Rekor's REST interfaces (either generation of Rekor), and RFC 3161 over HTTP.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from .authority import Signer
from .logs import Checkpointing, compact
from .world import BEGIN, PretendSigstore, dsse_record

FULCIO, STAMPS = "https://fulcio.pluto.example", "https://stamps.pluto.example/api/v1/timestamp"
SIGNING_TYPE = "application/vnd.dev.sigstore.signingconfig.v0.2+json"


@dataclass(frozen=True)
class PretendServices:
    """Answers to one job, who is `signer`, at one instant. `down`: a word in the address of a service that fails."""

    sigstore: PretendSigstore
    signer: Signer
    at: datetime
    generation: int = 1
    down: str | None = None

    def trust_config(self) -> str:
        """What a client is told: whom to trust, and where to go."""
        start = {"start": BEGIN.strftime("%Y-%m-%dT%H:%M:%SZ")}

        def service(url: str, version: int = 1) -> list[dict[str, Any]]:
            return [{"url": url, "majorApiVersion": version, "validFor": start, "operator": "pluto.example"}]

        signing = {
            "mediaType": SIGNING_TYPE,
            "caUrls": service(FULCIO),
            "oidcUrls": [],
            "rekorTlogUrls": service(f"https://{self.sigstore.rekor(self.generation).host}", self.generation),
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": service(STAMPS),
            "tsaConfig": {"selector": "ANY"},
        }
        document = {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": json.loads(self.sigstore.root()),
            "signingConfig": signing,
        }
        return json.dumps(document)

    def token(self) -> str:
        """A job's identity token; nobody here verifies it."""
        seconds = int(self.at.timestamp())
        claims = {"iss": self.signer.issuer, "sub": self.signer.san, "aud": "sigstore"}
        parts: tuple[dict[str, object], ...] = ({"alg": "none"}, {**claims, "iat": seconds, "exp": seconds + 300}, {})
        return ".".join(base64.urlsafe_b64encode(compact(part)).decode().rstrip("=") for part in parts)

    def request(self, method: str, url: str, **request: Any) -> requests.Response:
        """In the place of `requests.Session.request`."""
        answer = requests.Response()
        answer.status_code, answer.url = 200, url
        if self.down is not None and self.down in url:
            answer.status_code, answer._content = 503, b'{"message": "closed"}'
        elif url.startswith(FULCIO):
            answer._content = json.dumps(self._certificate(json.loads(request["data"]))).encode()
        elif url == STAMPS:
            query: bytes = request["data"]
            begin = query.index(b"\x04\x20") + 2  # the one OCTET STRING of a SHA-256
            answer._content = self.sigstore.timestamps.stamp(query[begin : begin + 32], self.at)
        elif url.endswith("/api/v1/log/entries"):
            answer._content = json.dumps(self._entry(request["json"])).encode()
        elif url.endswith("/api/v2/log/entries"):
            answer._content = json.dumps(self._entry_of_2(request["json"])).encode()
        else:
            raise requests.ConnectionError(f"nobody answers at {url}")
        return answer

    def _certificate(self, request: dict[str, str]) -> dict[str, Any]:
        wish = x509.load_pem_x509_csr(base64.b64decode(request["certificateSigningRequest"]))
        public = wish.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        fulcio = self.sigstore.fulcio
        leaf = fulcio.issue(self.signer, public, self.at, sct=fulcio.log_key)
        chain = (leaf, fulcio.intermediate.certificate, fulcio.root.certificate)
        pems = [one.public_bytes(Encoding.PEM).decode() for one in chain]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": pems}}}

    def _entry(self, request: dict[str, Any]) -> dict[str, Any]:
        """Rekor 1 keeps hashes, and answers in words of its own."""
        content = request["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        leaf = x509.load_pem_x509_certificate(base64.b64decode(content["verifiers"][0]))
        payload, signature = (
            base64.b64decode(text) for text in (envelope["payload"], envelope["signatures"][0]["sig"])
        )
        spec = dsse_record(payload, signature, leaf, envelope["payloadType"])
        body = compact({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        entry = self.sigstore.rekor(1).entry(body, "dsse", "0.0.1", self.at, Checkpointing(), None)
        proof = entry["inclusionProof"]
        return {
            "24296fb24b8ad77a": {
                "body": entry["canonicalizedBody"],
                "integratedTime": int(entry["integratedTime"]),
                "logID": base64.b64decode(entry["logId"]["keyId"]).hex(),
                "logIndex": int(entry["logIndex"]),
                "verification": {
                    "inclusionProof": {
                        "checkpoint": proof["checkpoint"]["envelope"],
                        "hashes": [base64.b64decode(one).hex() for one in proof["hashes"]],
                        "logIndex": int(proof["logIndex"]),
                        "rootHash": base64.b64decode(proof["rootHash"]).hex(),
                        "treeSize": int(proof["treeSize"]),
                    },
                    **entry["inclusionPromise"],
                },
            }
        }

    def _entry_of_2(self, request: dict[str, Any]) -> dict[str, Any]:
        """Rekor 2 keeps what it is given, and answers in the words of a bundle."""
        given = request["hashedRekordRequestV002"]
        record = {"data": {"algorithm": "SHA2_256", "digest": given["digest"]}, "signature": given["signature"]}
        body = compact({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": record}})
        return self.sigstore.rekor(2).entry(body, "hashedrekord", "0.0.2", self.at, Checkpointing(), None)
