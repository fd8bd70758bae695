"""The one program of ours that runs on a host while a deployment is changed: it looks, and it writes files whole.

Standard library alone, Python 3.10 or later. It is sent over the connection each time, with what is asked for as JSON
behind it, and answers with one line of JSON. Whatever it writes is written under another name and renamed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
from typing import Any

_LARGEST = 1 << 20
_SHOWN = ("LoadState", "ActiveState", "SubState", "Result", "UnitFileState", "ActiveEnterTimestamp", "MainPID")


def look(ask: dict[str, Any]) -> dict[str, Any]:
    """What is there of a deployment, and beside it."""
    slots = {letter: _slot(one) for letter, one in ask["slots"].items()}
    free = shutil.disk_usage(_existing(ask["images"]))
    return {
        "prepared": _text(ask["prepared"]),
        "releases": _names(ask["images"]),
        "tools": _names(ask["tools"]),
        "partials": _partials([ask["images"], ask["tools"]], ask["name"]),
        "slots": slots,
        "serving": _text(ask["serving"]),
        "traffic": _text(ask["traffic"]),
        "rules": _other_rules(ask["traffic"]),
        "leases": {name: _text(os.path.join(ask["leases"], name)) for name in _names(ask["leases"])},
        "others": _others(ask["domains"], ask["name"]),
        "listening": _listening(),
        "alone": not [one for one in _names(ask["domains"]) if one != ask["name"]],
        "free": free.free,
        "memory": _available(),
    }


def lease(ask: dict[str, Any]) -> dict[str, Any]:
    """The number of each slot, leased now where there was none: the lowest that is free, by a file that nobody had."""
    os.makedirs(ask["leases"], exist_ok=True)
    held = {_text(os.path.join(ask["leases"], name)): int(name) for name in _names(ask["leases"]) if name.isdigit()}
    found = {}
    for letter in ask["letters"]:
        owner = f"{ask['name']} {letter}"
        if owner not in held:
            held[owner] = _first_free(ask, owner)
        found[letter] = held[owner]
    return {"numbers": found}


def write(ask: dict[str, Any]) -> dict[str, Any]:
    """Files and folders as asked for; says which of them changed."""
    for path, mode, owner in ask.get("folders", []):
        os.makedirs(path, exist_ok=True)
        shutil.chown(path, *owner)
        os.chmod(path, mode)
    changed = []
    for path, mode, owner, content in ask.get("files", []):
        if _put(path, mode, owner, base64.b64decode(content)):
            changed.append(path)
    for path in ask.get("gone", []):
        if os.path.lexists(path):
            changed.append(path)
            _remove(path)
    return {"changed": changed}


def read(ask: dict[str, Any]) -> dict[str, Any]:
    """Files, base64; None for those that are not there. `tail`: at most so many bytes of the end."""
    return {"files": {path: _read(path, ask.get("tail")) for path in ask["paths"]}}


def listed(ask: dict[str, Any]) -> dict[str, Any]:
    """Files below a folder, by their relative paths."""
    found = []
    for at, _, files in os.walk(ask["folder"]):
        found += [os.path.relpath(os.path.join(at, one), ask["folder"]) for one in files]
    return {"paths": sorted(found)}


def take(ask: dict[str, Any]) -> dict[str, Any]:
    """Put a folder that was filled beside its place into its place, if nobody did so before."""
    if os.path.isdir(ask["place"]):
        shutil.rmtree(ask["partial"], ignore_errors=True)
        return {"changed": False}
    os.chmod(ask["partial"], 0o755)
    _flush(ask["partial"])
    os.rename(ask["partial"], ask["place"])
    return {"changed": True}


def _remove(path: str) -> None:
    """A file, or a folder under another name first: half of one must never look like a whole one."""
    if not os.path.isdir(path) or os.path.islink(path):
        os.unlink(path)
        return
    folder, name = os.path.split(path)
    for left in os.listdir(folder):
        if left.startswith(".gone-"):  # by somebody who was killed
            shutil.rmtree(os.path.join(folder, left), ignore_errors=True)
    going = os.path.join(folder, f".gone-{name}")
    os.rename(path, going)
    shutil.rmtree(going)


def _slot(one: dict[str, Any]) -> dict[str, Any] | None:
    if not os.path.isdir(one["folder"]):
        return None
    words = ["systemctl", "show", one["unit"], "--timestamp=unix", "-p", ",".join(_SHOWN)]
    shown = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    unit = dict(line.partition("=")[::2] for line in shown.splitlines())
    refused = os.path.exists(os.path.join(one["folder"], "refused"))
    made = os.stat(one["record"]).st_mtime_ns if os.path.exists(one["record"]) else 0
    return {"record": _text(one["record"]), "unit": unit, "refused": refused, "made": made}


def _others(domains: str, name: str) -> list[str | None]:
    """What other deployments of this host have in their slots, for nobody else's files to be tidied away."""
    found = []
    for other in _names(domains):
        if other != name:
            found += [_text(os.path.join(domains, other, letter, "slot.json")) for letter in ("a", "b")]
    return [text for text in found if text is not None]


def _other_rules(path: str) -> list[str]:
    """The rules of other deployments."""
    folder = os.path.dirname(path)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = [os.path.join(folder, one) for one in names if one.endswith(".nft") and not one.startswith(".")]
    return sorted(one for one in found if one != path)


def _listening() -> list[int]:
    """TCP ports that programs of the host listen on for others than itself (proc_net_tcp, state 0A)."""
    found = set()
    for path, loopback in (("/proc/net/tcp", ("0100007F",)), ("/proc/net/tcp6", ("0" * 24 + "01000000",))):
        with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as file:
            for line in file.readlines()[1:]:
                address, _, port = line.split()[1].partition(":")
                if line.split()[3] == "0A" and address not in loopback:
                    found.add(int(port, 16))
    return sorted(found)


def _partials(folders: list[str], name: str) -> list[str]:
    """What copies of this deployment left that did not come to their end."""
    found = []
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            found += [os.path.join(folder, one) for one in os.listdir(folder) if one.endswith(f".{name}.partial")]
    return sorted(found)


def _first_free(ask: dict[str, Any], owner: str) -> int:
    for number in range(ask["first"], ask["last"] + 1):
        path = os.path.join(ask["leases"], str(number))
        temporary = f"{path}.{os.getpid()}.new"
        with open(temporary, "x", encoding="ascii") as file:
            file.write(owner + "\n")
        try:
            os.link(temporary, path)  # fails where there is one, and never shows half of it
        except FileExistsError:
            continue
        finally:
            os.unlink(temporary)
        return number
    raise OSError("no number is free for another machine on this host")


def _put(path: str, mode: int, owner: list[Any], content: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        state = os.fstat(file.fileno())
        if file.read() == content and state.st_mode & 0o7777 == mode:
            return False
    temporary = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        shutil.chown(file.fileno(), *owner)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _flush(os.path.dirname(path))
    return True


def _flush(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if "." not in name)
    except FileNotFoundError:
        return []


def _text(path: str) -> str | None:
    data = _bytes(path, None)
    return None if data is None else data.decode(errors="replace").strip()


def _read(path: str, tail: int | None) -> str | None:
    data = _bytes(path, tail)
    return None if data is None else base64.b64encode(data).decode()


def _bytes(path: str, tail: int | None) -> bytes | None:
    try:
        with open(path, "rb") as file:
            if tail is not None:
                file.seek(max(0, file.seek(0, os.SEEK_END) - tail))
            return file.read(64 * _LARGEST if tail is None else tail)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _existing(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _available() -> int:
    """MemAvailable, in bytes (proc(5))."""
    with open("/proc/meminfo", encoding="ascii") as file:
        found = [line.split()[1] for line in file if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else 0


VERBS = {"look": look, "lease": lease, "write": write, "read": read, "list": listed, "take": take}


def main(verb: str, ask: str) -> int:
    """Do it; an error of the system is part of the answer."""
    os.umask(0o022)
    try:
        answer = VERBS[verb](json.loads(ask))
    except OSError as error:
        answer = {"error": f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0
