"""What a host says of itself, as one JSON document. `collect.py` sends this file to the host, where it runs alone.

It is one file, long as it is, because it is what is sent: a reader sees all that runs there as root, in one place.

Standard library only, Python 3.10 and later: the host's own interpreter reads it from standard input. It looks and
asks, and changes nothing: it loads no module, writes no file, and asks nobody but the host's own QGS and PCCS. No
secret is in the answer: of files that may hold one, named members alone are taken. Every read, program and answer has
a limit. null says that something could not be seen. It judges nothing; that is `findings.py`'s.

The root folder is an argument for tests on a tree that looks like a host.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import grp
import http.client
import json
import os
import pwd
import re
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

_SECONDS = 75  # for everything
_PATIENCE = 5  # for one answer of a service
_MOST = 4 << 20  # bytes of a file or of a program's words
_LINES, _WIDTH = 200, 300  # of the kernel's log
_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/intel/sgx-ra-service")
_FLAGS = frozenset(("tdx_host_platform", "tdx_guest", "hypervisor", "sgx", "sgx_lc", "tme", "vmx", "movdir64b", "ss"))
_PARAMETERS = re.compile(r"(nohibernate|crashkernel|kvm[.]|kvm_intel[.])")
_LOG = re.compile(r"virt/tdx|\btdx\b|seamcall|x86/tme|mktme|\bsgx\b|kvm_intel", re.IGNORECASE)
_REGISTERS = (0x87, 0xA0, 0xCE, 0xFE, 0x500, 0x503, 0x982, 0x1401)
_DEVICES = ("kvm", "sgx_enclave", "sgx_provision", "vhost-net", "net/tun")
_SERVICES = ("qgsd", "pccs", "mpa_registration_tool", "systemd-networkd")
_QGS = "/var/run/tdx-qgs"
_PPID = bytes.fromhex("060a2a864886f84d010d01010410")  # OID 1.2.840.113741.1.13.1.1 and the head of its 16 bytes


def look(root: str) -> dict[str, object]:
    """Everything, by topic."""
    quotes = _quotes(root)
    return {
        "version": 1,
        "processor": _processor(root),
        "registers": _registers(root),
        "kernel": _kernel(root),
        "system": _system(root),
        "devices": {name: _file(f"{root}/dev/{name}") for name in _DEVICES},
        "services": _services(root),
        "quotes": quotes,
        "provisioning": _provisioning(root, quotes["answer"]),
        "registration": _first_line(_said(root, "mpa_manage", "-get_registration_status")),
        "memory": _memory(root),
        "disk": _disk(root),
        "nft": _program(root, "nft") is not None,
    }


# Files and programs


def _read(path: str, limit: int = _MOST) -> bytes | None:
    try:
        with Path(path).open("rb") as file:
            return file.read(limit)
    except OSError:
        return None


def _text(path: str) -> str | None:
    data = _read(path)
    return None if data is None else data.decode(errors="replace").strip()


def _file(path: str) -> dict[str, object] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    kinds = {stat.S_IFCHR: "character", stat.S_IFSOCK: "socket", stat.S_IFDIR: "folder", stat.S_IFREG: "file"}
    owner, group = str(found.st_uid), str(found.st_gid)
    with contextlib.suppress(KeyError):
        owner = pwd.getpwuid(found.st_uid).pw_name
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(found.st_gid).gr_name
    kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
    return {"kind": kind, "mode": stat.S_IMODE(found.st_mode), "owner": owner, "group": group}


def _program(root: str, name: str) -> str | None:
    paths = (f"{root}{folder}/{name}" for folder in _FOLDERS)
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def _said(root: str, name: str, *words: str) -> str | None:
    """What a program writes to its output; None where there is no such program. It is killed when time runs out."""
    path = _program(root, name)
    if path is None:
        return None
    environment = {"PATH": ":".join(_FOLDERS), "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            [path, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment, start_new_session=True,
        )  # fmt: skip
    except OSError:
        return None
    assert process.stdout is not None
    timer = threading.Timer(2 * _PATIENCE, _end, (process,))
    timer.start()
    try:
        data = process.stdout.read(_MOST)
    finally:
        _end(process)
        timer.cancel()
        process.wait()
        process.stdout.close()
    return data.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _first_line(text: str | None) -> str | None:
    return None if text is None else next((line.strip()[:_WIDTH] for line in text.splitlines() if line.strip()), "")


# Processor and firmware


def _processor(root: str) -> dict[str, object]:
    text = _text(f"{root}/proc/cpuinfo") or ""
    first: dict[str, str] = {}
    sockets, threads = set(), 0
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        first.setdefault(name, value)
        threads += name == "processor"
        if name == "physical id":
            sockets.add(value)
    return {
        "vendor": first.get("vendor_id"),
        "family": _number(first.get("cpu family")),
        "model": _number(first.get("model")),
        "stepping": _number(first.get("stepping")),
        "name": first.get("model name"),
        "flags": sorted(_FLAGS & set(first.get("flags", "").split())),
        "threads": threads,
        "sockets": len(sockets),
    }


def _registers(root: str) -> dict[str, object]:
    """Eight bytes at the offset that is the register's number; null is a register that the processor does not have."""
    try:
        device = os.open(f"{root}/dev/cpu/0/msr", os.O_RDONLY)
    except OSError as error:
        denied = error.errno in (errno.EPERM, errno.EACCES)
        return {"state": "denied" if denied else "absent", "values": {}}
    try:
        values = {f"{number:#x}": _register(device, number) for number in _REGISTERS}
    except PermissionError:
        return {"state": "denied", "values": {}}
    finally:
        os.close(device)
    return {"state": "read", "values": values}


def _register(device: int, number: int) -> str | None:
    try:
        data = os.pread(device, 8, number)
    except PermissionError:
        raise
    except OSError:  # EIO: reading it faults
        return None
    return data[::-1].hex() if len(data) == 8 else None


# Kernel and system


def _kernel(root: str) -> dict[str, object]:
    release = _text(f"{root}/proc/sys/kernel/osrelease") or (None if root else os.uname().release)
    config = None if release is None else _text(f"{root}/boot/config-{release.replace('/', '')}")
    parameters = (_text(f"{root}/proc/cmdline") or "").split()
    power = _text(f"{root}/sys/power/disk")
    lines, source = _log(root)
    kvm = f"{root}/sys/module/kvm_intel/parameters"
    return {
        "release": release,
        "config": None if config is None else dict(re.findall(r"^CONFIG_(\w*INTEL_TDX\w*)=(\w+)$", config, re.M)),
        "parameters": [word for word in parameters if _PARAMETERS.match(word)],
        "hibernation": None if power is None else "[disabled]" not in power,
        "crashKernel": _flag(_text(f"{root}/sys/kernel/kexec_crash_loaded")),
        "log": lines,
        "logSource": source,
        "kvm": Path(f"{root}/sys/module/kvm_intel").is_dir(),
        "kvmTdx": _flag(_text(f"{kvm}/tdx")),
        "kvmSgx": _flag(_text(f"{kvm}/sgx")),
        "tdxModule": _text(f"{root}/sys/devices/faux/tdx_host/version"),
    }


def _log(root: str) -> tuple[list[str] | None, str | None]:
    """What the kernel said of TDX: its ring, or the journal where the ring no longer has it."""
    found: tuple[list[str] | None, str | None] = (None, None)
    for argv in (("dmesg",), ("journalctl", "-k", "-b", "-q", "-o", "cat", "--no-pager")):
        text = _said(root, *argv)
        if text:
            lines = [line for line in text.splitlines() if _LOG.search(line) and "ommand line:" not in line]
            found = ([line[:_WIDTH] for line in lines[:_LINES]], argv[0])
            if any("virt/tdx" in line for line in lines):
                break
    return found


def _system(root: str) -> dict[str, object]:
    release = _text(f"{root}/etc/os-release") or _text(f"{root}/usr/lib/os-release") or ""
    fields = dict(re.findall(r"^([A-Z_]+)=[\"']?(.*?)[\"']?$", release, re.MULTILINE))
    systemd = re.match(r"systemd (\d+)", _said(root, "systemctl", "--version") or "")
    board = f"{root}/sys/class/dmi/id"
    return {
        "id": fields.get("ID"),
        "release": fields.get("VERSION_ID"),
        "name": fields.get("PRETTY_NAME"),
        "systemd": int(systemd[1]) if systemd else None,
        "maker": _text(f"{board}/sys_vendor"),
        "product": _text(f"{board}/product_name"),
        "firmware": _text(f"{board}/bios_version"),
    }


def _services(root: str) -> dict[str, object]:
    return {name: _service(root, name) for name in _SERVICES}


def _service(root: str, name: str) -> dict[str, str] | None:
    names = {"LoadState": "load", "ActiveState": "active", "UnitFileState": "enabled", "Result": "result"}
    text = _said(root, "systemctl", "show", f"--property={','.join(names)}", "--", f"{name}.service")
    if text is None:
        return None
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {short: found.get(long, "") for long, short in names.items()}


# Quotes: QGS and its protocol. Source: Intel DCAP, qgs_msg_lib.h.


def _quotes(root: str) -> dict[str, object]:
    text = _text(f"{root}/etc/qgs.conf")
    found = dict(re.findall(r"^\s*(port|number_threads)\s*=\s*(\d{1,9})\s*$", text or "", re.MULTILINE))
    return {
        "configured": text is not None,
        "port": _number(found.get("port")),
        "threads": _number(found.get("number_threads")),
        "folder": _file(root + _QGS),
        "socket": _file(f"{root}{_QGS}/qgs.socket"),
        "answer": _platform(f"{root}{_QGS}/qgs.socket"),
    }


def _platform(path: str) -> dict[str, object]:
    """GET_PLATFORM_INFO: answered only where QGS, SGX and Intel's enclaves work. No guest takes part."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(_PATIENCE)
    try:
        with client:
            client.connect(path)
            client.sendall(struct.pack(">I", 16) + struct.pack("<HHIII", 1, 1, 4, 16, 0))
            (size,) = struct.unpack(">I", _exactly(client, 4))
            return _platform_of(_exactly(client, min(size, 4096)))
    except FileNotFoundError:
        return {"state": "absent"}
    except (TimeoutError, EOFError):
        return {"state": "silent"}
    except OSError:
        return {"state": "refused"}


def _platform_of(message: bytes) -> dict[str, object]:
    if len(message) < 16:
        return {"state": "malformed"}
    major, _, kind, size, problem = struct.unpack_from("<HHIII", message)
    if major != 1 or kind != 5 or size != len(message):
        return {"state": "malformed"}
    if problem:
        return {"state": "error", "code": problem}
    if len(message) < 28:
        return {"state": "malformed"}
    tdqe, pce, id_size, svn_size = struct.unpack_from("<HHII", message, 16)
    if id_size > 64 or svn_size != 16 or len(message) != 28 + id_size + svn_size:
        return {"state": "malformed"}
    platform, svn = message[28 : 28 + id_size].hex(), message[28 + id_size :].hex()
    return {"state": "answered", "tdqe": tdqe, "pce": pce, "platform": platform, "cpuSvn": svn}


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = client.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


# Provisioning: what qgsd's library is told of the PCCS, and whether that answers and knows this machine


def _provisioning(root: str, quoting: object) -> dict[str, object]:
    text = _text(f"{root}/etc/sgx_default_qcnl.conf")
    fields = {} if text is None else _commented_json(text)
    url, secure = (fields or {}).get("pccs_url"), (fields or {}).get("use_secure_cert")
    found: dict[str, object] = {
        "configured": text is not None,
        "readable": fields is not None,
        "url": _bare(url) if isinstance(url, str) else None,
        "secure": secure if isinstance(secure, bool) else None,
        "answer": None,
        "certificate": None,
    }
    if isinstance(url, str):
        found["answer"] = answer = _asked(url, "rootcacrl", secure is False)[0]
        if answer["state"] == "answered" and isinstance(quoting, dict) and quoting["state"] == "answered":
            found["certificate"] = _certificate(url, secure is False, quoting)
    return found


def _commented_json(text: str) -> dict[str, object] | None:
    parts = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
    try:
        value = json.loads(parts.sub(lambda match: match[1] or " ", text))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _bare(url: str) -> str:
    """Without what could be a secret: user, password, query."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "?"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))[:_WIDTH]


def _asked(url: str, path: str, insecure_allowed: bool) -> tuple[dict[str, object], bytes]:
    """GET, first with the certificate checked; without only where the host's own configuration does so, too."""
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            return {"state": "no-https"}, b""
        target = (parts.hostname, parts.port or 443, f"{parts.path.rstrip('/')}/{path}")
    except ValueError:
        return {"state": "no-https"}, b""
    for tls, context in (("verified", ssl.create_default_context()), ("unverified", _insecure_context())):
        try:
            status, body = _get(*target, context)
        except ssl.SSLCertVerificationError as error:
            if not insecure_allowed:
                return {"state": "untrusted", "reason": error.verify_message[:_WIDTH]}, b""
        except (OSError, http.client.HTTPException) as error:
            return {"state": "unreachable", "reason": str(error)[:_WIDTH]}, b""
        else:
            return {"state": "answered", "status": status, "tls": tls}, body
    return {"state": "untrusted"}, b""


def _get(host: str, port: int, path: str, context: ssl.SSLContext) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection(host, port, timeout=_PATIENCE, context=context)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(1 << 16)
    finally:
        connection.close()


def _insecure_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _certificate(url: str, insecure_allowed: bool, quoting: dict[str, object]) -> dict[str, object]:
    """Ask for this machine's PCK certificate as qgsd does. Source: PCCS API, /pckcert; numbers are little endian."""
    pce = int(str(quoting["pce"])).to_bytes(2, "little").hex()
    query = f"qeid={quoting['platform']}&cpusvn={quoting['cpuSvn']}&pcesvn={pce}&pceid=0000"
    answer, body = _asked(url, f"pckcert?{query}", insecure_allowed)
    return {**answer, "ppid": _ppid(body) if answer.get("status") == 200 else None}


def _ppid(pem: bytes) -> str | None:
    block = re.search(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END", pem)
    try:
        der = base64.b64decode(block[1]) if block else b""
    except ValueError:
        return None
    at = der.find(_PPID)
    ppid = der[at + len(_PPID) :][:16]
    return ppid.hex() if at >= 0 and len(ppid) == 16 else None


# Memory and disk


def _memory(root: str) -> dict[str, object]:
    text = _text(f"{root}/proc/meminfo") or ""
    sizes = {name: int(size) << 10 for name, size in re.findall(r"^(\w+):\s+(\d{1,15}) kB$", text, re.MULTILINE)}
    table = _read(f"{root}/sys/firmware/dmi/tables/DMI")
    return {
        "total": sizes.get("MemTotal"),
        "available": sizes.get("MemAvailable"),
        "swap": sizes.get("SwapTotal"),
        "modules": None if table is None else _modules(table),
    }


def _modules(table: bytes) -> list[int | None]:
    """MiB of each memory device, 0 for an empty place. Source: SMBIOS 3.7, 7.18 (type 17)."""
    found: list[int | None] = []
    at = 0
    while at + 4 <= len(table) and len(found) < 256:
        kind, length = table[at], table[at + 1]
        body = table[at : at + length]
        if kind == 17 and len(body) == length >= 0x15:
            size = int.from_bytes(body[0x0C:0x0E], "little")
            if size == 0x7FFF and length >= 0x20:
                size = int.from_bytes(body[0x1C:0x20], "little") & 0x7FFFFFFF
            elif size & 0x8000:
                size = (size & 0x7FFF) >> 10
            found.append(None if body[0x0C:0x0E] == b"\xff\xff" else size)
        end = table.find(b"\0\0", at + length)
        if kind == 127 or length < 4 or end < 0:
            break
        at = end + 2
    return found


def _disk(root: str) -> dict[str, object]:
    for path in ("/var/lib/pluto", "/var/lib", "/"):
        with contextlib.suppress(OSError):
            found = os.statvfs(root + path)
            return {"path": path, "free": found.f_bavail * found.f_frsize, "total": found.f_blocks * found.f_frsize}
    return {"path": "/", "free": None, "total": None}


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None


def _bounded(value: object) -> object:
    """The same with every text cut to a width that the other side takes."""
    if isinstance(value, dict):
        return {name: _bounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_bounded(one) for one in value]
    return value[:_WIDTH] if isinstance(value, str) else value


def _flag(text: str | None) -> bool | None:
    return None if text is None else text in ("Y", "1")


if __name__ == "__main__":
    signal.alarm(_SECONDS)  # its default action ends the process
    facts = look(sys.argv[1].rstrip("/") if len(sys.argv) > 1 else "")
    sys.stdout.write(json.dumps(_bounded(facts)) + "\n")
