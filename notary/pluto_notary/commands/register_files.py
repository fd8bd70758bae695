"""What all commands of registrars share: the registry that they sign for, their key, and the signature's file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.commands.values import argument
from pluto_measure.errors import FormatError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pluto_notary.registry.claims import Claim, Registry
    from pluto_notary.statement.keys import SigningKey


def add_registry(sub: argparse.ArgumentParser) -> None:
    """Add what says for which contract a signature is."""
    sub.add_argument("--registry", metavar="0xADDRESS", required=True, help="the registry's contract")
    sub.add_argument("--chain-id", metavar="N", type=int, required=True, help="the chain that it is on")


def add_output(sub: argparse.ArgumentParser) -> None:
    """Add what signs, and where the signature goes."""
    sub.add_argument(
        "--key",
        metavar="FILE",
        type=Path,
        required=True,
        help="the registrar's private key: secp256k1 in PEM, readable by its owner alone",
    )
    sub.add_argument("--password-file", metavar="FILE", type=Path, help="the password of --key, if it has one")
    sub.add_argument("--out", metavar="FILE", type=Path, required=True, help="where the signature is written (JSON)")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def registry_of(arguments: argparse.Namespace) -> Registry:
    """UsageError."""
    from pluto_notary.registry.claims import Registry
    from pluto_notary.statement.keys import parse_address

    try:
        return Registry(arguments.chain_id, argument("--registry", parse_address, arguments.registry))
    except FormatError as error:
        raise UsageError(f"--registry, --chain-id: {error.problem}") from error


def signing_key(arguments: argparse.Namespace) -> SigningKey:
    """The registrar's key. It is in no text and no error. UsageError, FormatError."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from pluto_measure.publish.writing import load_key
    from pluto_notary.statement.keys import SigningKey

    key = load_key(arguments.key, arguments.password_file)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256K1):
        make = f"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out {arguments.key}"
        raise FormatError(str(arguments.key), "is no key of secp256k1", hint=f"one is made by '{make}'")
    return SigningKey(key.private_numbers().private_value.to_bytes(32, "big"))


def put(
    arguments: argparse.Namespace, claim: Claim, registry: Registry, *, more: Mapping[str, object] | None = None
) -> Result:
    """Sign a claim and write the file. `more`: further members of the document."""
    from pluto_measure.formats.strict_json import loads
    from pluto_notary.registry.signed import Signed
    from pluto_notary.statement.keys import checksummed
    from pluto_notary.statement.model import spelt

    text = Signed.sign(claim, registry, signing_key(arguments)).to_text()
    files.write(arguments.out, text)
    signed: dict[str, Any] = loads(text, what="signature")
    said = ", ".join(f"{name} {value}" for name, value in spelt(claim.message()).items())
    lines = [f"{claim.STRUCT.name}: {said}", f"signed by {checksummed(bytes.fromhex(signed['signer'][2:]))}"]
    lines.append(f"written to {arguments.out}")
    document = {"signature": str(arguments.out), "signed": signed, **(more or {})}
    return Result(document, "".join(f"{line}\n" for line in lines))
