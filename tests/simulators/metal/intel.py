"""Packages that stand for Intel's attestation software: names, files, users, units and configuration as the real ones.

Where Intel's releases of 2025 and of 2026 differ, `year` says which (see qgs.py). Source: Intel DCAP,
QuoteGeneration/installer/linux, and the enabling guides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from simulators.metal.packages import HostDeb

VERSIONS = {2025: "1.23.100.0-noble1", 2026: "1.27.100.0-noble1"}
SHEBANG = b"#!/usr/bin/python3\n"

QGS_CONF = "# The port must be in [0, 65535].\nport = 4050\nnumber_threads = 4\n"
QCNL_CONF = """{
  // *** ATTENTION : This file is in JSON format so the keys are case sensitive.
  "pccs_url": "https://localhost:8081/sgx/certification/v4/"
  // To accept insecure HTTPS certificate, set this option to false
  ,"use_secure_cert": true
  ,"retry_times": 6
  ,"retry_delay": 10
  ,"pck_cache_expire_hours": 168
  ,"local_cache_only": false
}
"""
PCCS_CONFIG = {
    "HTTPS_PORT": 8081,
    "hosts": "0.0.0.0",
    "uri": "https://api.trustedservices.intel.com/sgx/certification/v4/",
    "ApiKey": "",
    "proxy": "",
    "RefreshSchedule": "0 0 1 * * *",
    "UserTokenHash": "",
    "AdminTokenHash": "",
    "CachingFillMode": "LAZY",
    "LogLevel": "info",
}
QGSD = """[Unit]
Description=Intel(R) TD Quoting Generation Service
After=syslog.target network.target

[Service]
User=qgsd
Type=forking
Environment=QGS_YEAR={year}
WorkingDirectory=/opt/intel/tdx-qgs
PermissionsStartOnly=true
ExecStartPre=/bin/mkdir -p /var/opt/qgsd
ExecStartPre=/bin/chown -R qgsd:qgsd /var/opt/qgsd
ExecStartPre=/bin/chmod 0750 /var/opt/qgsd
ExecStart=/opt/intel/tdx-qgs/qgs
ExecReload=/bin/kill -SIGHUP $MAINPID
Restart=on-failure
RestartSec=15s
DevicePolicy=closed
DeviceAllow=/dev/sgx_enclave rw
DeviceAllow=/dev/sgx_provision rw

[Install]
WantedBy=multi-user.target
"""
QGS_DROP_IN = "[Service]\\nRuntimeDirectory=tdx-qgs\\nRuntimeDirectoryMode=0755\\nUMask=0077\\n"
PCCS = """[Unit]
Description=Provisioning Certificate Caching Service (PCCS)
After=network.target

[Service]
User=pccs
WorkingDirectory=/opt/intel/sgx-dcap-pccs
ExecStart=/opt/intel/sgx-dcap-pccs/pccs_server
Restart=on-failure
RestartSec=15s

[Install]
WantedBy=multi-user.target
"""
REGISTRATION = """[Unit]
Description=Intel MPA Registration
After=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/opt/intel/sgx-ra-service/mpa_registration

[Install]
WantedBy=multi-user.target
"""


def packages(*, year: int = 2026) -> list[HostDeb]:
    """All of them, of one release."""
    return [
        _qgs(year),
        _pccs(year),
        _registration(year),
        _deb(
            "libsgx-dcap-default-qpl", year, files={"etc/sgx_default_qcnl.conf": QCNL_CONF.encode()},
            scripts={"conffiles": b"/etc/sgx_default_qcnl.conf\n"},
        ),
        _deb("libsgx-dcap-ql", year, depends="libsgx-ae-pce"),
        _deb("libsgx-ae-pce", year, scripts={"postinst": _script("getent group sgx_prv || groupadd -r sgx_prv")}),
        _deb(
            "sgx-pck-id-retrieval-tool", year,
            files={"opt/intel/sgx-pck-id-retrieval-tool/PCKIDRetrievalTool": RETRIEVAL.encode()},
            links={"usr/local/bin/PCKIDRetrievalTool": "/opt/intel/sgx-pck-id-retrieval-tool/PCKIDRetrievalTool"},
        ),
    ]  # fmt: skip


RETRIEVAL = """#!/bin/sh
# PCKIDRetrievalTool -f FILE: EncryptedPPID, PCE_ID, CPUSVN, PCE ISVSVN, QE_ID, PLATFORM_MANIFEST
out=pckid_retrieval.csv
[ "${1:-}" = -f ] && out=$2
[ -e /dev/sgx_enclave ] || { echo "Error: the data couldn't be retrieved, SGX is not enabled." >&2; exit 1; }
echo aa,0000,000102030405060708090a0b0c0d0e0f,0d00,101112131415161718191a1b1c1d1e1f,bb >"$out"
"""


def _qgs(year: int) -> HostDeb:
    steps = ["id -u qgsd >/dev/null 2>&1 || useradd -r -U -d /var/opt/qgsd -s /sbin/nologin qgsd"]
    if year == 2026:
        folder = "/etc/systemd/system/qgsd.service.d"
        steps.append(f"mkdir -p {folder} && printf '{QGS_DROP_IN}' >{folder}/socket.conf")
    steps.append(_enable("qgsd", restart=True))
    return _deb(
        "tdx-qgs", year, depends="libsgx-dcap-ql, python3",
        files={
            "opt/intel/tdx-qgs/qgs": SHEBANG + Path(__file__).with_name("qgs.py").read_bytes(),
            "etc/qgs.conf": QGS_CONF.encode(),
            "usr/lib/systemd/system/qgsd.service": QGSD.format(year=year).encode(),
        },
        scripts={"conffiles": b"/etc/qgs.conf\n", "postinst": _script(*steps), "prerm": _script(_stop("qgsd"))},
    )  # fmt: skip


def _pccs(year: int) -> HostDeb:
    folder = "/opt/intel/sgx-dcap-pccs"
    key = f"{folder}/ssl_key"
    steps = (
        f"id -u pccs >/dev/null 2>&1 || useradd -r -U -d {folder} -s /sbin/nologin pccs",
        f"[ -e {key}/file.crt ] || {{ mkdir -p {key}; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
        f" -noenc -subj /CN=localhost -days 365 -keyout {key}/private.pem -out {key}/file.crt 2>/dev/null; }}",
        f"chown -R pccs:pccs {key}",
        _enable("pccs"),
    )
    return _deb(
        "sgx-dcap-pccs", year, depends="python3, openssl",
        files={
            "opt/intel/sgx-dcap-pccs/pccs_server": SHEBANG + Path(__file__).with_name("pccs.py").read_bytes(),
            "opt/intel/sgx-dcap-pccs/config/default.json": json.dumps(PCCS_CONFIG, indent=4).encode(),
            "usr/lib/systemd/system/pccs.service": PCCS.encode(),
        },
        scripts={"postinst": _script(*steps), "prerm": _script(_stop("pccs"))},
    )  # fmt: skip


def _registration(year: int) -> HostDeb:
    said = "Registration process completed successfully."
    return _deb(
        "sgx-ra-service", year,
        files={
            "opt/intel/sgx-ra-service/mpa_registration": b"#!/bin/sh\nexit 0\n",
            "opt/intel/sgx-ra-service/mpa_manage": f"#!/bin/sh\necho\necho '{said}'\n".encode(),
            "etc/mpa_registration.conf": b"subscription_key=\n",
            "usr/lib/systemd/system/mpa_registration_tool.service": REGISTRATION.encode(),
        },
        scripts={
            "conffiles": b"/etc/mpa_registration.conf\n", "postinst": _script(_enable("mpa_registration_tool")),
            "prerm": _script(_stop("mpa_registration_tool")),
        },
    )  # fmt: skip


def _deb(
    name: str,
    year: int,
    *,
    depends: str = "",
    files: Mapping[str, bytes] | None = None,
    links: Mapping[str, str] | None = None,
    scripts: Mapping[str, bytes] | None = None,
) -> HostDeb:
    fields = {"Maintainer": "Test <test@example.org>", "Description": "made by a test"}
    if depends:
        fields["Depends"] = depends
    return HostDeb(name, VERSIONS[year], fields, files or {}, links or {}, scripts or {})


def _script(*steps: str) -> bytes:
    return "\n".join(["#!/bin/sh", "set -e", *steps, ""]).encode()


def _enable(unit: str, *, restart: bool = False) -> str:
    verb = "restart" if restart else "start"
    steps = f"systemctl daemon-reload; systemctl -q enable {unit}; systemctl {verb} {unit}"
    return f"if [ -d /run/systemd/system ]; then {steps}; fi"


def _stop(unit: str) -> str:
    return f"if [ -d /run/systemd/system ]; then systemctl stop {unit}; fi"
