"""The notary's image: its packages, its modules, its codecs, its units, each pinned by the code that needs it."""

from __future__ import annotations

import ast
import codecs
import encodings.aliases
import ipaddress
import json
import posixpath
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509

from pluto_image import definition, source_tree
from pluto_image.lint import unit_files
from pluto_image.lock.lockfile import Lock
from pluto_image.recipe import root, tables
from pluto_image.recipe.model import Recipe
from pluto_image.recipe.patterns import matches
from pluto_image.tree import Entry
from pluto_notary import fetch_metadata
from pluto_notary.fetch import egress

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "image/notary"
BASES = {"pluto_notary": ROOT / "notary", "pluto_measure": ROOT / "measure"}
# What starts in the machine and in the container, by whom it is named.
MACHINE = (
    "pluto_notary.fetch_config",  # pluto-config.service
    "pluto_notary.evidence.prepare",  # pluto-evidence-entry.service
    "pluto_notary.evidence.__main__",  # pluto-evidence.service
    "pluto_notary.server.__main__",  # pluto-notary.service
    "pluto_notary.manifest.worker",  # pluto_notary.manifest.workers
)
CONTAINER = ("pluto_notary.server.container", "pluto_notary.manifest.worker")
MOST_PACKAGES = 80
PLACE = "usr/lib/python3/dist-packages/"


@cache
def recipe() -> Recipe:
    return tables.parse(definition.load(FOLDER).recipe)


@cache
def sources(flavour: str) -> tuple[Entry, ...]:
    return tuple(root.source_entries(recipe().files, source_tree.read(FOLDER).files, "image/notary/rootfs", flavour))


def file_of(module: str) -> Path | None:
    """The file of a module of ours."""
    base = BASES.get(module.partition(".")[0])
    path = base / module.replace(".", "/") if base else None
    found = [Path(f"{path}.py"), path / "__init__.py"] if path else []
    return next((one for one in found if one.is_file()), None)


def run_time(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from run_time(child)


def imported(path: Path) -> set[str]:
    """What a module imports, at once or when it is needed."""
    names: set[str] = set()
    for node in run_time(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@cache
def closure(starts: tuple[str, ...]) -> frozenset[Path]:
    """The files of ours that programs can ever import."""
    seen: dict[str, Path | None] = {}
    todo = list(starts)
    while todo:
        parts = todo.pop().split(".")
        for name in (".".join(parts[: end + 1]) for end in range(len(parts))):
            if name not in seen:
                seen[name] = path = file_of(name)
                todo += imported(path) if path else []
    return frozenset(path for path in seen.values() if path)


def carried(flavour: str) -> set[str]:
    return {one.path.removeprefix(PLACE) for one in sources(flavour) if one.path.startswith(PLACE)}


def relative(paths: Iterable[Path]) -> set[str]:
    return {path.relative_to(ROOT).as_posix().partition("/")[2] for path in paths}


def test_the_recipe_takes_exactly_the_modules_that_can_be_imported() -> None:
    assert carried("debug") == relative(closure((*MACHINE, *CONTAINER)))
    assert carried("debug") - carried("release") == {"pluto_notary/debug_world.py"}


def test_the_container_has_exactly_the_modules_that_its_program_can_import() -> None:
    patterns = [pattern for kept in recipe().container.keep for pattern in kept.paths]
    kept = {path for path in carried("debug") if any(matches(pattern, PLACE + path) for pattern in patterns)}
    assert kept == relative(closure(CONTAINER))


def codec_names(path: Path) -> set[str]:
    """Codecs that a module names: x.encode("…"), x.decode("…"), encoding="…", and texts that name nothing else."""
    names: set[str] = set()
    for node in run_time(ast.parse(path.read_bytes())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("encode", "decode")
        ):
            names |= {
                one.value for one in node.args[:1] if isinstance(one, ast.Constant) and isinstance(one.value, str)
            }
        elif isinstance(node, ast.keyword) and node.arg == "encoding" and isinstance(node.value, ast.Constant):
            names |= {str(node.value.value)}
        elif isinstance(node, ast.Constant) and node.value in ("cp1252", "utf-16-be", "punycode"):
            names.add(str(node.value))
    return names


def test_every_codec_that_a_module_names_is_in_the_image() -> None:
    kept = [pattern for line in recipe().keep for pattern in line.paths]
    named = set().union(*(codec_names(path) for path in closure((*MACHINE, *CONTAINER))))
    assert {"utf-8", "cp1252", "punycode", "utf-16-be"} <= named, "the search finds what it is for"
    for name in named:
        form = codecs.lookup(name).name.replace("-", "_")
        module = encodings.aliases.aliases.get(form, form)
        module = {"iso8859_1": "latin_1", "utf": "utf_8"}.get(module, module)
        assert any(matches(pattern, f"usr/lib/python3.13/encodings/{module}.py") for pattern in kept), name


def test_there_are_few_packages_and_each_is_used_or_says_why_not() -> None:
    lock = Lock.parse((FOLDER / "lock.json").read_bytes())
    assert len(lock.image) + len(lock.wheels) <= MOST_PACKAGES
    assert {wheel.name for wheel in lock.wheels} == {"coincurve"}, "Debian has a package of all others"


def setting(unit: str, name: str, flavour: str = "release") -> list[str]:
    found = unit_files.units(sources(flavour))[unit]
    return found.all("Service", name)


def networks(texts: Iterable[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The last list of an IPAddressDeny= or IPAddressAllow=, which an empty assignment begins anew."""
    whole: list[str] = []
    for text in texts:
        whole = [*whole, *text.split()] if text else []
    return [ipaddress.ip_network(one) for one in whole]


def denied(address: str, flavour: str) -> bool:
    """Whether the kernel drops the notary's packets to this address."""
    parsed = ipaddress.ip_address(address)
    allow, deny = (networks(setting("pluto-notary.service", f"IPAddress{word}", flavour)) for word in ("Allow", "Deny"))
    return any(parsed in one for one in deny) and not any(parsed in one for one in allow)


def within(address: str) -> str:
    """The same by NAT64's well-known prefix."""
    return str(ipaddress.IPv6Address((0x0064_FF9B << 96) | int(ipaddress.IPv4Address(address))))


@pytest.mark.parametrize("flavour", ["release", "debug"])
@pytest.mark.parametrize("address", egress.METADATA)
def test_no_packet_of_the_notary_reaches_a_metadata_service(address: str, flavour: str) -> None:
    assert denied(address, flavour)
    inner = ipaddress.ip_address(address)
    assert inner.version == 6 or inner not in ipaddress.ip_network("169.254.0.0/16") or denied(within(address), flavour)


@pytest.mark.parametrize("flavour", ["release", "debug"])
def test_link_local_addresses_and_the_machine_itself_are_out_of_reach_but_for_the_resolver(flavour: str) -> None:
    for address in ("169.254.1.1", "fe80::1", "127.0.0.1", "::1", "0.0.0.0", "255.255.255.255", "ff02::1", "224.0.0.1"):
        assert denied(address, flavour), address
    (line,) = [line for line in resolv_conf() if line.startswith("nameserver")]
    assert not denied(line.split()[1], flavour)


def test_neighbours_are_out_of_reach_of_a_release_and_web_sites_are_not() -> None:
    blocks = [ipaddress.ip_network(block) for block in egress.PRIVATE]
    assert all(denied(str(one[0]), "release") and denied(str(one[-1]), "release") for one in blocks)
    for flavour in ("release", "debug"):
        assert not denied("1.1.1.1", flavour)
        assert not denied("2606:4700::1111", flavour)
        assert not denied(within("1.1.1.1"), flavour)
    assert not denied("10.0.2.2", "debug")


def test_what_the_kernel_lets_out_in_a_release_is_no_address_that_the_policy_refuses_as_private() -> None:
    rules = egress.EgressRules()
    for block in networks(setting("pluto-notary.service", "IPAddressDeny")):
        assert not egress.is_allowed(str(block[0]), rules), "nothing that may be asked is dropped"


def test_two_programs_reach_the_metadata_service_and_no_other_address_and_a_third_none() -> None:
    for unit in ("pluto-config.service", "pluto-evidence.service"):
        assert setting(unit, "IPAddressDeny") == ["any"]
        assert setting(unit, "IPAddressAllow") == [fetch_metadata.ADDRESS[0]]
        assert setting(unit, "RestrictAddressFamilies") == ["AF_INET"]
    unit = "pluto-evidence-entry.service"
    assert (setting(unit, "IPAddressDeny"), setting(unit, "IPAddressAllow")) == (["any"], [])
    assert setting(unit, "PrivateNetwork") == ["yes"]
    assert denied(fetch_metadata.ADDRESS[0], "release")


def resolv_conf() -> list[str]:
    (text,) = [text for text in recipe().files.texts if text.path == "etc/resolv.conf"]
    return text.text.splitlines()


def test_names_are_asked_of_the_resolver_alone_and_it_has_no_servers_of_its_own() -> None:
    assert [line for line in resolv_conf() if line.startswith("nameserver")] == ["nameserver 127.0.0.53"]
    (conf,) = [one for one in sources("release") if one.path.endswith("resolved.conf.d/50-pluto.conf")]
    lines = conf.data.decode().splitlines()
    assert {"DNS=", "FallbackDNS=", "Domains=", "LLMNR=no", "MulticastDNS=no"} <= set(lines)
    assert setting("pluto-resolver.service", "User") == ["systemd-resolve"]
    assert setting("pluto-resolver.service", "CapabilityBoundingSet") == ["CAP_NET_BIND_SERVICE CAP_NET_RAW"]
    assert "AF_PACKET" not in setting("pluto-resolver.service", "RestrictAddressFamilies")[0]


def test_the_entry_for_quotes_is_made_by_one_capability_before_the_helper_starts() -> None:
    assert setting("pluto-evidence-entry.service", "CapabilityBoundingSet") == ["CAP_CHOWN"]
    helper = unit_files.units(sources("release"))["pluto-evidence.service"]
    assert "pluto-evidence-entry.service" in " ".join(helper.all("Unit", "After")).split()
    assert "pluto-evidence-entry.service" in " ".join(helper.all("Unit", "Wants")).split()
    (modules,) = [group for group in recipe().kernel.modules if "tdx_guest" in group.names]
    assert modules.load, "loaded by device alias it could come after the entry was asked for"


def test_the_notary_may_start_its_interpreter_and_no_other_program() -> None:
    unit = "pluto-notary.service"
    allowed = " ".join(setting(unit, "ExecPaths")).split()
    assert setting(unit, "NoExecPaths") == ["/"]
    programs = [path for path in allowed if posixpath.dirname(path) in ("/usr/bin", "/usr/lib/systemd")]
    assert programs == ["/usr/bin/python3.13"]
    assert int(setting(unit, "LimitNOFILE")[0]) > 2 * 2560


def test_the_debug_images_world_has_one_site_whose_authority_can_name_no_other() -> None:
    world = json.loads((FOLDER / "debug/debug-world.json").read_bytes())
    (authority,) = x509.load_pem_x509_certificates(world["roots"].encode())
    names = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert names.critical
    assert names.value.permitted_subtrees == [x509.DNSName("pluto.test")]
    leaf = x509.load_pem_x509_certificate((FOLDER / "debug/site.crt").read_bytes())
    leaf.verify_directly_issued_by(authority)
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(world["hosts"]) == san.get_values_for_type(x509.DNSName) == ["site.pluto.test"]


def test_no_module_asks_cffi_for_a_callback() -> None:
    """It would need memory that is writable and executable, which the units forbid: the program would end there."""
    for path in closure((*MACHINE, *CONTAINER)):
        for node in run_time(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = node.func.attr
                made = name == "callback" or (name.startswith("set_") and name.endswith("_callback"))
                assert not made, f"{path.name}: {name}"
                assert name != "set_verify" or len(node.args) < 2, f"{path.name}: set_verify with a callback"
