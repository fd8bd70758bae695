"""Our operations of pyinfra's: what a host shows → what it is told. On the fake host, in a process with gevent."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from typing import Any

import pytest

SCRIPT = """
from pluto_deploy.metal.worker import __main__ as worker, jobs
import json, os, re, sys
from pyinfra.api.inventory import Inventory
from pluto_deploy.metal.prepare import operations
from pluto_deploy.metal.prepare.preparation import Device, Folder, Placed
inputs = []
def job(steps, parameters):
    steps.add("it", getattr(operations, ask["operation"]), *eval(ask["arguments"]))
ask = json.loads(sys.stdin.read())
data = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": {"id -u": "0", **ask["responses"]}}
inventory = Inventory(([("@fake/host", data)], {}))
answer = jobs.carry_out(inventory, job, {}, lambda *_: None)
host = next(iter(inventory))
commands = [
    {"command": str(command), "stdin": command.connector_arguments.get("_stdin")}
    for one in host.state.ops[host].values() for command in one.operation_meta._commands or []
]
print(json.dumps({**answer, "commands": commands}), flush=True)
os._exit(0)
"""
CONTENT = b"value = 1\n"
SUM = hashlib.sha256(CONTENT).hexdigest()
PLACED = f"[Placed('/etc/x.conf', {CONTENT!r}, 'root', 'pluto', 0o640)]"
FILE = "regular file|640|root|pluto|/etc/x.conf"
MARK = "regular empty file|644|root|root|/var/lib/pluto/pending/a"
JSON = """[Placed('/c.json', b'{"hosts": "127.0.0.1", "ApiKey": "s3cret"}', 'pccs', 'pccs', 0o640)]"""
JSON_FILE = "regular file|640|pccs|pccs|/c.json"
OURS = '{"hosts": "127.0.0.1", "ApiKey": "s3cret", "uri": "https://x/"}'


def carried_out(operation: str, arguments: str, responses: dict[str, Any]) -> dict[str, Any]:
    asked = json.dumps({"operation": operation, "arguments": f"[{arguments}]", "responses": responses})
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=asked, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# operation, arguments, what the host answers → what each command contains
TABLE = [
    ("place", PLACED, {}, ["/etc/x.conf root:pluto 0640"]),
    ("place", PLACED, {"stat -c": FILE, "sha256sum": f"{SUM}  /etc/x.conf"}, []),
    ("place", PLACED, {"stat -c": FILE, "sha256sum": f"{'0' * 64}  /etc/x.conf"}, ["/etc/x.conf root:pluto 0640"]),
    ("place", PLACED, {"stat -c": FILE.replace("640", "644"), "sha256sum": f"{SUM}  /etc/x.conf"}, ["0640"]),
    ("place", PLACED, {"stat -c": FILE.replace("pluto", "root"), "sha256sum": f"{SUM}  /etc/x.conf"}, ["root:pluto"]),
    (
        "place", f"{PLACED}, ['a', 'b']", {},
        ["mkdir -p /var/lib/pluto/pending && touch /var/lib/pluto/pending/a /var/lib/pluto/pending/b", "/etc/x.conf"],
    ),
    ("place", f"{PLACED}, ['a']", {"stat -c": FILE, "sha256sum": f"{SUM}  /etc/x.conf"}, []),
    ("follow_up", "'a', ['restart it']", {}, []),
    ("follow_up", "'a', ['restart it']", {"stat -c": MARK}, ["restart it", "rm -f /var/lib/pluto/pending/a"]),
    ("mend_packages", "", {}, []),
    ("mend_packages", "", {"dpkg --audit": ["The following packages are only half", " x"]}, ["--configure -a"]),
    ("folders", "[Folder('/srv/x', 0o710, 'qgsd', 'g')]", {}, ["install -d -o qgsd -g g -m 0710 /srv/x"]),
    ("folders", "[Folder('/srv/x')]", {"stat -c": "directory|755|root|root|/srv/x"}, []),
    ("folders", "[Folder('/srv/x')]", {"stat -c": "directory|777|root|root|/srv/x"}, ["-m 0755 /srv/x"]),
    ("devices", "[Device('vhost-net', 'kvm', 'vhost_net')]", {}, ["modprobe vhost_net"]),
    ("devices", "[Device('net/tun', None, 'tun')]", {}, ["modprobe tun"]),
    ("devices", "[Device('net/tun', None)]", {"stat -c": "character special file|666|root|root|/dev/net/tun"}, []),
    ("devices", "[Device('sgx_provision', 'sgx_prv')]", {}, []),
    ("devices", "[Device('kvm', 'kvm')]", {"stat -c": "character special file|660|root|kvm|/dev/kvm"}, []),
    (
        "devices", "[Device('kvm', 'kvm')]", {"stat -c": "character special file|666|root|root|/dev/kvm"},
        ["chgrp kvm /dev/kvm && chmod 0660 /dev/kvm"],
    ),
    ("hold", "['b', 'a', 'c']", {"showhold": ["a", "z"]}, ["apt-mark hold b c"]),
    ("hold", "['a']", {"showhold": ["a"]}, []),
    ("require_words", "['nohibernate']", {"/proc/cmdline": "ro nohibernate quiet"}, []),
    ("require_words", "['nohibernate']", {"/proc/cmdline": "ro quiet"}, ["started without nohibernate"]),
    ("ufw", "['route allow in on pluto0']", {"ufw show added": "ufw route allow in on pluto0"}, []),
    ("ufw", "['route allow in on pluto0']", {"ufw show added": "ufw allow 22"}, ["ufw route allow in on pluto0"]),
    ("unless_there", "'/k', ['make', 'a key']", {}, ["make 'a key'"]),
    ("unless_there", "'/k', ['make', 'a key']", {"stat -c": "regular file|600|root|root|/k"}, []),
    ("merge_json", JSON, {}, ["/c.json pccs:pccs 0640"]),
    ("merge_json", JSON, {"stat -c": JSON_FILE, "cat --": OURS}, []),
    ("merge_json", JSON, {"stat -c": JSON_FILE, "cat --": OURS.replace("127.0.0.1", "0.0.0.0")}, ["/c.json"]),
    ("merge_json", JSON, {"stat -c": JSON_FILE.replace("640", "644"), "cat --": OURS}, ["0640"]),
    ("merge_json", f"{JSON}, ['a']", {}, ["touch /var/lib/pluto/pending/a", "/c.json pccs:pccs 0640"]),
    ("refresh", "'apt-get update', ['a']", {"dpkg": "ii  a  1.0  amd64  text"}, []),
    ("refresh", "'apt-get update', ['a', 'b']", {"dpkg": "ii  a  1.0  amd64  text"}, ["apt-get update"]),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "arguments", "responses", "wanted"), TABLE)
def test_an_operation(operation: str, arguments: str, responses: dict[str, Any], wanted: list[str]) -> None:
    found = carried_out(operation, arguments, responses)
    assert found["error"] is None
    commands = [one["command"] for one in found["commands"]]
    assert len(commands) == len(wanted)
    assert all(part in command for part, command in zip(wanted, commands, strict=True))
    assert found["operations"] == [{"name": "it", "changed": bool(wanted)}]


def test_content_goes_by_stdin_alone() -> None:
    (command,) = carried_out("place", PLACED, {})["commands"]
    assert base64.b64decode(command["stdin"]) == CONTENT
    assert CONTENT.decode().strip() not in command["command"]


def test_members_of_others_stay() -> None:
    there = OURS.replace("127.0.0.1", "0.0.0.0")
    found = carried_out("merge_json", JSON, {"stat -c": JSON_FILE, "cat --": there})
    (command,) = found["commands"]
    assert json.loads(base64.b64decode(command["stdin"])) == json.loads(OURS)
    assert "s3cret" not in json.dumps({**found, "commands": command["command"]})
