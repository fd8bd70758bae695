"""The notary's container for tests: made of the locked inputs, laid on disk, as one archive, asked over HTTPS."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pluto_image import build, definition, source_tree
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_image.outputs import oci
from pluto_image.recipe import tables
from pluto_image.recipe.model import Recipe
from pluto_image.tree import Entry

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "image/notary"
BUILD_ID: Final = "5e" * 32
PORT: Final = 8443
_NS_GET_USERNS: Final = 0xB701  # ioctl_ns(2): a descriptor of the user namespace that owns this one

# Prints one line, {"target": [status, body]}. Asks until somebody answers; certificates are nobody's concern here.
_ASK: Final = """
import http.client, json, ssl, sys, time
context = ssl._create_unverified_context()
def ask(target):
    connection = http.client.HTTPSConnection("127.0.0.1", %d, context=context, timeout=10)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        return [answer.status, json.loads(answer.read())]
    finally:
        connection.close()
deadline = time.monotonic() + 30
while True:
    try:
        print(json.dumps({target: ask(target) for target in sys.argv[1:]}))
        break
    except ConnectionRefusedError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.1)
"""


def recipe() -> Recipe:
    """The recipe of the notary's image."""
    return tables.parse(definition.load(FOLDER).recipe)


def locked_root(flavour: str = "debug") -> tuple[Entry, ...]:
    """The finished root of the notary's image, of the locked inputs."""
    lock = Lock.parse((FOLDER / "lock.json").read_bytes())
    source = source_tree.read(FOLDER)
    return build.assemble(recipe(), lock, Store(default_root()), source, flavour, BUILD_ID).entries


def layout(entries: tuple[Entry, ...], flavour: str = "debug") -> oci.Layout:
    """The notary's container of that root."""
    given = definition.load(FOLDER)
    return oci.layout(
        recipe().container, entries, epoch=given.epoch, version=given.version, build_id=BUILD_ID, flavour=flavour
    )


def lay(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write the files of a layout; returns the folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def archive(files: Mapping[str, bytes]) -> bytes:
    """All files of a layout as one archive, which `docker load` takes; owned by who runs this, as `tar` makes it."""
    stream = io.BytesIO()
    folders = {str(parent): None for name in files for parent in reversed(PurePosixPath(name).parents[:-1])}
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in {**folders, **files}.items():
            info = tarfile.TarInfo(name)
            info.uid, info.gid = os.getuid(), os.getgid()
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                info.size = len(data)
            tar.addfile(info, None if data is None else io.BytesIO(data))
    return stream.getvalue()


def layer(files: Mapping[str, bytes]) -> bytes:
    """The bytes of the one layer, found as an engine finds them."""
    index = json.loads(files["index.json"])
    manifest = json.loads(files[_blob(index["manifests"][0]["digest"])])
    return files[_blob(manifest["layers"][0]["digest"])]


def config(files: Mapping[str, bytes]) -> dict[str, Any]:
    """The image's configuration, found as an engine finds it."""
    index = json.loads(files["index.json"])
    manifest = json.loads(files[_blob(index["manifests"][0]["digest"])])
    found: dict[str, Any] = json.loads(files[_blob(manifest["config"]["digest"])])
    return found


def ask(pid: int, *targets: str, owned: bool = False) -> dict[str, tuple[int, Any]]:
    """Status and JSON body by target, asked from inside the network of a process; waits until it listens.

    `owned`: enter the user namespace that the network belongs to first, which the process may have left for another.
    """
    with Path(f"/proc/{pid}/ns/net").open("rb") as network, contextlib.ExitStack() as stack:
        inside = [f"--net=/proc/self/fd/{network.fileno()}"]
        passed = [network.fileno()]
        if owned:
            user = fcntl.ioctl(network.fileno(), _NS_GET_USERNS)
            stack.callback(os.close, user)
            inside += [f"--user=/proc/self/fd/{user}", "--preserve-credentials"]
            passed.append(user)
        argv = [tool("nsenter"), *inside, "--", sys.executable, "-c", _ASK % PORT, *targets]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, pass_fds=passed)
    assert done.returncode == 0, done.stderr
    return {target: (status, body) for target, (status, body) in json.loads(done.stdout).items()}


def tool(name: str) -> str:
    """The path of a program, also of those that only root has on its path. LookupError."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        raise LookupError(f"{name} is not installed")
    return found


def wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes] | None = None, seconds: float = 30) -> bool:
    """Whether something becomes true before the process ends or time is up."""
    deadline = time.monotonic() + seconds
    while not true():
        if (process is not None and process.poll() is not None) or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
