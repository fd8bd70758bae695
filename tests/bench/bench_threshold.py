"""Five rebuilders' Sigstore bundles and a trust file that wants all of them, verified by one process; and plain keys.

The release is a small one: what is measured is who signed, not how long hashing takes (`release`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from figures import Row, timed

from simulators import releases
from simulators.sigstore import GITHUB, PretendSigstore, workflow

BIN = Path(sys.executable).parent
RUNS = 7
SIGNERS = 5
# What Sigstore's own library takes for the same bundles and root: no trust file, no release.
LIBRARY = """
import sys
from pathlib import Path
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.verify import Verifier
from sigstore.verify.policy import UnsafeNoOp
verifier = Verifier(trusted_root=ClientTrustConfig.from_json(Path(sys.argv[1]).read_text()).trusted_root)
for path in sys.argv[2:]:
    verifier.verify_dsse(Bundle.from_json(Path(path).read_bytes()), UnsafeNoOp())
"""


def rows(work: Path) -> Iterator[Row]:
    folder = releases.write(work / "release")
    payload = (folder / "release.json").read_bytes()
    sigstore = PretendSigstore()
    root, trust, config = work / "root.json", work / "trust.toml", work / "config.json"
    root.write_bytes(sigstore.root())
    (folder / "signatures").mkdir()
    text = f"version = 2\nk = {SIGNERS}\nmaxConfirmationAge = 2592000\n"
    for number in range(SIGNERS):
        repository, ref = f"rebuilder{number}/pluto", "refs/heads/main"
        signer = workflow(repository, ref, file="rebuild.yml", repository_id=str(number))
        (folder / f"signatures/{number}.sigstore.json").write_bytes(sigstore.sign(payload, signer))
        identity = f'issuer = "{GITHUB}", san = "{signer.san}", repositoryId = "{number}", ref = "{ref}"'
        text += f'[[organisations]]\nname = "{repository}"\nidentities = [{{ {identity} }}]\nkeys = []\n'
    trust.write_text(text)
    config.write_text(json.dumps(_config(json.loads(root.read_text()))))
    verify: list[str | Path] = [BIN / "pluto-measure", "release", folder, "--trust", trust, "--at", releases.AT]
    bundles = sorted((folder / "signatures").iterdir())
    ours = [timed([*verify, "--sigstore-root", root])[0] for _ in range(RUNS)]
    theirs = [timed([sys.executable, "-c", LIBRARY, config, *bundles])[0] for _ in range(RUNS)]
    name = f"{SIGNERS} Sigstore bundles, {SIGNERS} wanted, as a process"
    yield Row(name, "s", tuple(ours), 0.6, "sigstore-python alone", tuple(theirs))
    page = [timed([*verify, "--sigstore-root", root, "--html", work / "page.html"])[0] for _ in range(RUNS)]
    yield Row("the same, with the page of who rebuilt what", "s", tuple(page))
    yield Row("that page", "KiB", ((work / "page.html").stat().st_size / 1024,), 300)
    trust.write_text(releases.trust_text(*releases.KEYS.values(), k=3))
    for path in bundles:
        path.unlink()
    for key in releases.KEYS.values():
        releases.sign(folder, key)
    keys = [timed(verify)[0] for _ in range(RUNS)]
    yield Row("three plain keys, three wanted, as a process", "s", tuple(keys))


def _config(root: object) -> dict[str, object]:
    """The root in the form that the library reads."""
    return {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": root,
        "signingConfig": {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"},
    }
