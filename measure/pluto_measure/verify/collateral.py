"""Check Intel's collateral: who signed it, and that the signers are not revoked. Pure.

Intel QVL 4.1.2.2 to 4.1.2.4 and 4.1.2.6 to 4.1.2.8, in its order:

1. The root's revocation list is signed by the pinned root, which is the same for all chains.
2. The list of revoked PCK certificates is signed by a PCK CA under the root, where its chain is given; that it is the
   list of the quote's own CA is checked with the quote.
3. TCB info: exactly two certificates, "TCB Signing" under the root, not revoked; its signature over the very bytes.
4. QE identity: likewise.

Dates are not looked at here: `windows` has them all, for the appraisal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pluto_measure.findings import Finding, judge
from pluto_measure.formats.collateral import Collateral, Signed
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.tcb_info import TcbInfo
from pluto_measure.verify.intel_certificate import p256_key, signs
from pluto_measure.verify.intel_crl import Crl, crl_problem, load_crl
from pluto_measure.verify.intel_pki import INTEL_ROOTS, Chain, Roots, Window, ca_chain, signing_chain

_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True)
class CheckedCollateral:
    """Collateral, parsed, with every check that was made of it. It is good where no finding failed.

    `tcb_info` and the others are Intel's word only where `findings` say so.
    """

    tcb_info: TcbInfo
    qe_identity: QeIdentity
    root_crl: Crl
    pck_crl: Crl
    windows: tuple[Window, ...]
    findings: tuple[Finding, ...]
    root: bytes  # DER of the root of all its chains; nothing where no chain holds


@lru_cache(_REMEMBERED)
def check_collateral(collateral: Collateral, roots: Roots = INTEL_ROOTS) -> CheckedCollateral:
    """Check one set of collateral against pinned roots (SHA-256 of DER). FormatError for what cannot be parsed."""
    tcb_info, qe_identity = TcbInfo.parse(collateral.tcb_info.body), QeIdentity.parse(collateral.qe_identity.body)
    root_crl = load_crl(collateral.root_crl, "collateral.root_ca_crl")
    pck_crl = load_crl(collateral.pck_crl, "collateral.pck_crl")
    tcb_chain = signing_chain(collateral.tcb_info.chain, roots, what="collateral.tcb_info_issuer_chain")
    qe_chain = tcb_chain  # Intel sends both documents with the same one
    if collateral.qe_identity.chain != collateral.tcb_info.chain:
        qe_chain = signing_chain(collateral.qe_identity.chain, roots, what="collateral.qe_identity_issuer_chain")
    crl_chain = None
    if collateral.pck_crl_chain.strip():
        crl_chain = ca_chain(collateral.pck_crl_chain, roots, what="collateral.pck_crl_issuer_chain")
    anchors = _anchors(tcb_chain, qe_chain, crl_chain)
    findings = (
        _root_crl(root_crl, anchors),
        _pck_crl(pck_crl, root_crl, crl_chain),
        *_signed("tcb_info", "TCB info", collateral.tcb_info, tcb_chain, root_crl),
        *_signed("qe_identity", "QE identity", collateral.qe_identity, qe_chain, root_crl),
    )
    windows = (
        *tcb_chain.windows("TCB info's signer", "Intel's root"),
        *qe_chain.windows("QE identity's signer"),
        Window("TCB info", "document", tcb_info.issue_date, tcb_info.next_update),
        Window("QE identity", "document", qe_identity.issue_date, qe_identity.next_update),
        root_crl.window("root CRL"),
        pck_crl.window("PCK CRL"),
    )
    root = anchors[0] if len(anchors) == 1 else b""
    return CheckedCollateral(tcb_info, qe_identity, root_crl, pck_crl, windows, findings, root)


def _anchors(*chains: Chain | None) -> list[bytes]:
    """The roots of the chains that hold. Only a pinned root stands at the end of a chain without a problem."""
    return sorted({chain.ders[-1] for chain in chains if chain is not None and chain.problem is None})


def _root_crl(crl: Crl, anchors: list[bytes]) -> Finding:
    problem: str | None
    if len(anchors) == 1:
        problem = crl_problem(crl.der, anchors[0])
    elif not anchors:
        problem = "there is no pinned root to check it by"
    else:  # one root's list says nothing of what another issued
        problem = f"the chains end in {len(anchors)} roots"
    return judge(
        "collateral.root_crl",
        problem is None,
        "Intel's root signed its revocation list",
        otherwise=f"the root's revocation list does not hold: {problem}",
    )


def _pck_crl(crl: Crl, root_crl: Crl, chain: Chain | None) -> Finding:
    check = "collateral.pck_crl_chain"
    if chain is None:
        return Finding(check, "pass", "the PCK revocation list came without a chain; the quote's own chain judges it")
    problem = chain.problem
    if problem is None and root_crl.revokes(chain.leaf):
        problem = "Intel revoked the CA"
    if problem is None:
        problem = crl_problem(crl.der, chain.ders[0])
    text = "a PCK CA of Intel's signed the PCK revocation list"
    return judge(check, problem is None, text, otherwise=f"the PCK revocation list does not hold: {problem}")


def _signed(name: str, what: str, document: Signed, chain: Chain, root_crl: Crl) -> tuple[Finding, ...]:
    key = p256_key(chain.leaf)
    return (
        judge(
            f"collateral.{name}_chain",
            chain.problem is None,
            f"the {what}'s signer is Intel's",
            otherwise=f"the {what}'s signer is not Intel's: {chain.problem}",
        ),
        judge(
            f"collateral.{name}_signer",
            not root_crl.revokes(chain.leaf),
            f"the {what}'s signer is not revoked",
            otherwise=f"Intel revoked the {what}'s signer",
            actual=f"{chain.leaf.serial_number:x}",
        ),
        judge(
            f"collateral.{name}_signature",
            key is not None and signs(key, document.signature, document.body),
            f"the {what} is signed as it stands",
            otherwise=f"the {what} is not what its signer signed",
        ),
    )
