"""What a signed release asks of the trust domain and the platform that it runs on. Pure.

The policy decides on its own (`trust_domain`, `platform_tcb`); a release can only ask for more.
"""

from __future__ import annotations

from collections.abc import Iterator

from pluto_measure.findings import Finding, judge
from pluto_measure.formats.quote import TdReport
from pluto_measure.masked import Masked
from pluto_measure.publish.vouched import Vouched
from pluto_measure.verify.quote import VerifiedQuote


def terms_findings(report: TdReport, verified: VerifiedQuote | None, release: Vouched | None) -> Iterator[Finding]:
    """Attributes and XFAM refuse; the platform's status warns. `verified` None: nobody knows the status.

    `release` None: nobody signed the reference, so nobody asks.
    """
    if release is None:
        return
    yield _masked("release.attributes", report.td_attributes, release.td.attributes, "attributes")
    yield _masked("release.xfam", report.xfam, release.td.xfam, "XFAM")
    if verified is not None and (status := verified.tcb.status) not in release.tcb.accepted_statuses:
        text = "the publisher does not mean the release to run on a platform in this state"
        expected = " ".join(release.tcb.accepted_statuses)
        yield Finding("release.tcb_status", "warning", text, expected, status)


def _masked(check: str, value: bytes, wanted: Masked, name: str) -> Finding:
    actual = int.from_bytes(value, "little")
    return judge(
        check,
        wanted.fits(actual),
        f"the TD's {name} are as the release asks for",
        otherwise=f"the TD's {name} are not as the release asks for",
        expected=f"{wanted.value:#x} under {wanted.mask:#x}",
        actual=f"{actual:#x}",
    )
