"""The facts of a quote and its collateral, for programs and people: what is said, not whether it is accepted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pluto_measure.appraise.trust_domain import attribute_names
from pluto_measure.evidence import format_time
from pluto_measure.formats.pck import PckExtension
from pluto_measure.formats.quote import Quote, ServiceTds, TdReport
from pluto_measure.verify.collateral import CheckedCollateral
from pluto_measure.verify.intel_crl import Crl
from pluto_measure.verify.intel_pki import PckChain


def quote_facts(quote: Quote, pck: PckChain) -> dict[str, object]:
    """What a quote says, parsed. Nobody vouches for it unless the quote was verified."""
    qe = quote.qe_report
    return {
        "version": quote.version,
        "tdReport": quote.report.version,
        **_report(quote.report),
        "qe": {
            "mrSigner": qe.mr_signer.hex(),
            "mrEnclave": qe.mr_enclave.hex(),
            "isvProdId": qe.isv_prod_id,
            "isvSvn": qe.isv_svn,
        },
        "pck": {**_pck(pck.extension), "ca": pck.ca or None},
    }


def collateral_facts(checked: CheckedCollateral) -> dict[str, object]:
    """What the quote was judged by."""
    tcb, qe = checked.tcb_info, checked.qe_identity
    first = min((window for window in checked.windows), key=lambda window: window.end)
    return {
        "tcbInfo": {
            "fmspc": tcb.fmspc.hex(),
            "pceId": tcb.pce_id.hex(),
            "evaluationNumber": tcb.evaluation_number,
            **_dates(tcb.issue_date, tcb.next_update),
        },
        "qeIdentity": {"evaluationNumber": qe.evaluation_number, **_dates(qe.issue_date, qe.next_update)},
        "rootCrl": _crl(checked.root_crl),
        "pckCrl": _crl(checked.pck_crl),
        "expires": {"what": first.what, "at": format_time(first.end)},
    }


def _report(report: TdReport) -> dict[str, object]:
    facts: dict[str, object] = {
        "teeTcbSvn": report.tee_tcb_svn.hex(),
        "mrSeam": report.mr_seam.hex(),
        "mrSignerSeam": report.mr_signer_seam.hex(),
        "seamAttributes": report.seam_attributes.hex(),
        "tdAttributes": {
            "value": f"{int.from_bytes(report.td_attributes, 'little'):#018x}",
            "names": list(attribute_names(report.td_attributes)),
        },
        "xfam": f"{int.from_bytes(report.xfam, 'little'):#x}",
        **{name: value.hex() for name, value in report.registers.items()},
        "mrConfigId": report.mr_config_id.hex(),
        "mrOwner": report.mr_owner.hex(),
        "mrOwnerConfig": report.mr_owner_config.hex(),
        "reportData": report.report_data.hex(),
        "teeTcbSvn2": _hex(report.tee_tcb_svn_2),
        "mrServiceTd": _hex(report.mr_service_td),
    }
    return facts if report.service_tds is None else {**facts, "serviceTds": _service_tds(report.service_tds)}


def _service_tds(value: ServiceTds) -> dict[str, object]:
    return {
        "vmId": value.vm_id.hex(),
        "tdId": value.td_id.hex(),
        "deviceInfo": value.device_info.hex(),
        "initialHash": value.initial_hash.hex(),
        "initialAttributes": value.initial_attributes.hex(),
        "initialCpuSvn": value.initial_cpu_svn.hex(),
        "initialTeeTcbSvn": value.initial_tee_tcb_svn.hex(),
        "initialFmspc": value.initial_fmspc.hex(),
        "currentHash": value.current_hash.hex(),
        "currentAttributes": value.current_attributes.hex(),
    }


def _pck(pck: PckExtension) -> Mapping[str, object]:
    return {
        "ppid": pck.ppid.hex(),
        "fmspc": pck.fmspc.hex(),
        "pceId": pck.pce_id.hex(),
        "cpuSvn": pck.cpu_svn.hex(),
        "components": list(pck.components),
        "pceSvn": pck.pce_svn,
        "sgxType": pck.sgx_type,
        "platformInstance": _hex(pck.platform_instance),
        "dynamicPlatform": pck.dynamic_platform,
        "cachedKeys": pck.cached_keys,
        "smt": pck.smt,
    }


def _crl(crl: Crl) -> dict[str, object]:
    number = None if crl.number < 0 else crl.number
    return {"number": number, **_dates(crl.this_update, crl.next_update)}


def _dates(issued: datetime, due: datetime) -> dict[str, object]:
    return {"issueDate": format_time(issued), "nextUpdate": format_time(due)}


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
