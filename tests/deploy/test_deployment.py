from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_deploy.deployment import BareMetal, Deployment, Local, Network
from pluto_deploy.metal.login import Login
from pluto_measure.errors import FormatError, PlutoError
from pluto_notary.config import encode_payload

ROOT = Path(__file__).resolve().parents[2]
HERE = Path("/deployments")
NAMES = ("local", "bare-metal", "google-confidential-space", "google-tdx", "azure-tdx")
PPID = "ppid:00112233445566778899aabbccddeeff"
LOCAL: dict[str, Any] = {
    "version": 1,
    "name": "notary",
    "release": "release",
    "trust": "trust.toml",
    "policy": "policy.toml",
    "platform": {"kind": "local"},
    "size": {"cpus": 2, "memory": "1G"},
    "network": {"ports": [8443], "egress": []},
    "notary": {},
    "update": {"strategy": "blue-green", "timeout": 300},
}
METAL: dict[str, Any] = {
    **LOCAL,
    "platform": {
        "kind": "bare-metal",
        "host": "me@host.example:22",
        "knownHosts": "known_hosts",
        "tee": "tdx",
        "machine": PPID,
    },
    "network": {"domain": "notary.example", "address": "192.0.2.1", "ports": [443, 8443], "egress": ["tcp:443"]},
}
BRIDGED: dict[str, Any] = {
    **METAL,
    "platform": {**METAL["platform"], "network": "bridge:br0"},
    "network": {"address": "192.0.2.1", "mac": "52:54:00:12:34:56", "ports": [8443], "egress": []},
    "update": {"strategy": "replace", "timeout": 300},
}


GOOGLE: dict[str, Any] = {
    "project": "our-project",
    "zone": "europe-west4-a",
    "machineType": "c3-standard-4",
    "network": "default",
    "subnetwork": "default",
    "bucket": "our-releases",
}
SPACE: dict[str, Any] = {
    **LOCAL,
    "platform": {
        "kind": "google-confidential-space",
        **GOOGLE,
        "serviceAccount": "notary@our-project.iam.gserviceaccount.com",
        "repository": "europe-west4-docker.pkg.dev/our-project/notaries",
    },
    "size": {"cpus": 4, "memory": "16G"},
    "network": {"domain": "notary.example", "ports": [8443], "egress": ["tcp:443"]},
}
GOOGLE_TDX: dict[str, Any] = {**SPACE, "platform": {"kind": "google-tdx", **GOOGLE}}
AZURE: dict[str, Any] = {
    **SPACE,
    "platform": {
        "kind": "azure-tdx",
        "tenant": "00000000-1111-2222-3333-444444444444",
        "subscription": "55555555-6666-7777-8888-999999999999",
        "resourceGroup": "notaries",
        "location": "westeurope",
        "vmSize": "Standard_DC4es_v6",
        "route": "disk",
        "login": "secret",
        "client": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "operators": ["198.51.100.0/24"],
    },
}
CLOUDS = (SPACE, GOOGLE_TDX, AZURE)


def toml(value: Any) -> str:
    """A value as TOML writes it in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{name}" = {toml(inner)}' for name, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return (
            '"'
            + "".join(one if one.isprintable() and one not in '"\\' else f"\\U{ord(one):08x}" for one in value)
            + '"'
        )
    return str(value)


def parse(document: dict[str, Any]) -> Deployment:
    return Deployment.parse("".join(f"{name} = {toml(value)}\n" for name, value in document.items()), HERE)


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """With one value changed; None: gone."""
    name, _, rest = path.partition(".")
    inner = changed(document.get(name, {}), rest, value) if rest else value
    kept = {one: known for one, known in document.items() if one != name}
    return kept if inner is None else {**kept, name: inner}


def test_every_value_of_a_local_deployment_is_read() -> None:
    document = changed(changed(LOCAL, "platform.boot", "disk"), "platform.accelerator", "tcg")
    deployment = parse(changed(document, "notary.deployment", "try"))
    assert deployment == Deployment(
        name="notary",
        release=HERE / "release",
        trust=HERE / "trust.toml",
        policy=HERE / "policy.toml",
        platform=Local("disk", "tcg"),
        cpus=2,
        memory=1 << 30,
        network=Network(None, (8443,), None, None, ()),
        payload=encode_payload(deployment="try"),
        strategy="blue-green",
        timeout=300,
    )
    assert deployment.kind == "local"
    assert parse(LOCAL).payload == b""
    assert parse(LOCAL).platform == Local("uki-kernel", "auto")


def test_every_value_of_a_bare_metal_deployment_is_read() -> None:
    deployment = parse(changed(changed(METAL, "platform.key", "keys/me"), "platform.profile", "bare-metal-4"))
    assert deployment.platform == BareMetal(
        login=Login("host.example", "me", 22, HERE / "keys/me", HERE / "known_hosts"),
        tee="tdx",
        profile="bare-metal-4",
        machine=PPID,
        network="routed",
    )
    assert deployment.network == Network("notary.example", (443, 8443), "192.0.2.1", None, (("tcp", 443),))
    assert deployment.kind == "bare-metal"


def test_what_is_left_to_others_is_spelled() -> None:
    platform = parse(changed(changed(METAL, "platform.knownHosts", "openssh"), "platform.machine", "policy")).platform
    assert isinstance(platform, BareMetal)
    assert (platform.login.known_hosts, platform.machine) == (None, None)


def test_a_path_that_is_absolute_stays_so() -> None:
    assert parse(changed(LOCAL, "release", "/elsewhere/release")).release == Path("/elsewhere/release")


@pytest.mark.parametrize("document", CLOUDS)
@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("size.cpus", 8, "size"),
        ("size.memory", "8G", "size"),
        ("network.ports", [8444], "8443"),
        ("network.ports", [443, 8443, 80], "8443"),
        ("network.address", "192.0.2.1", "the cloud's to give"),
        ("network.mac", "52:54:00:12:34:56", "the cloud's to give"),
        ("platform.more", "x", "unknown member more"),
    ],
)
def test_what_no_cloud_can_do_is_said(document: dict[str, Any], path: str, value: Any, words: str) -> None:
    assert parse(document).kind == document["platform"]["kind"]
    with pytest.raises(FormatError, match=words):
        parse(changed(document, path, value))


def test_a_container_needs_its_registry_and_reads_no_configuration() -> None:
    for path, value in (("network.egress", []), ("notary.deployment", "x")):
        assert parse(changed(GOOGLE_TDX, path, value))
        assert parse(changed(AZURE, path, value))
        with pytest.raises(FormatError):
            parse(changed(SPACE, path, value))


@pytest.mark.parametrize("ports", [[443], [443, 8443], [8443, 443]])
def test_a_machine_of_ours_serves_on_either_port_and_a_container_on_one(ports: list[int]) -> None:
    for document in (GOOGLE_TDX, AZURE, BRIDGED):
        assert parse(changed(document, "network.ports", ports)).network.ports == tuple(ports)
    with pytest.raises(FormatError, match=r"must be of \[8443\]"):
        parse(changed(SPACE, "network.ports", ports))


@pytest.mark.parametrize("name", NAMES)
def test_the_example_is_read(name: str) -> None:
    text = (ROOT / f"docs/examples/deployment-{name}.toml").read_text()
    assert Deployment.parse(text, HERE).kind == name


def test_the_page_shows_the_examples_and_names_every_key() -> None:
    page = (ROOT / "docs/formats/deployment.md").read_text()
    for name in NAMES:
        assert f"../examples/deployment-{name}.toml" in page
    told = changed(METAL, "certificate", {"directory": "https://ca.example/directory", "roots": "x"})
    for document in (changed(LOCAL, "notary.deployment", "x"), changed(BRIDGED, "platform.key", "x"), told, *CLOUDS):
        for path, _ in leaves(document):
            assert f"`{path.rpartition('.')[2]}`" in page, path
    for shown in page.split("```toml\n")[1:]:
        text = shown.partition("```")[0]
        assert Deployment.parse(text, HERE).kind == tomllib.loads(text)["platform"]["kind"]


REFUSED: list[tuple[dict[str, Any], str, Any, str]] = [
    (LOCAL, "version", 2, "version 2 is not known"),
    (LOCAL, "version", None, "version is missing"),
    (LOCAL, "name", "Notary", "deployment.name: must be 1 to 32"),
    (LOCAL, "name", "-", "deployment.name"),
    (LOCAL, "name", "a" * 33, "deployment.name"),
    (LOCAL, "name", "../x", "deployment.name"),
    (LOCAL, "release", "", "deployment.release: must be a path"),
    (LOCAL, "release", "a\0b", "deployment.release: must be a path"),
    (LOCAL, "trust", None, "trust is missing"),
    (LOCAL, "trust", "", "deployment.trust: must be a path"),
    (LOCAL, "policy", None, "policy is missing"),
    (LOCAL, "policy", False, "policy"),
    (LOCAL, "platform", None, "platform is missing"),
    (LOCAL, "platform.kind", "cloud", "deployment.platform.kind: 'cloud' is not one of local, bare-metal"),
    (LOCAL, "platform.boot", "direct", "deployment.platform.boot"),
    (LOCAL, "platform.accelerator", "hax", "deployment.platform.accelerator"),
    (LOCAL, "platform.host", "x", "unknown member host"),
    (LOCAL, "size.cpus", 0, "deployment.size.cpus: 0 is not from 1 to 4096"),
    (LOCAL, "size.cpus", 4097, "deployment.size.cpus"),
    (LOCAL, "size.cpus", True, "cpus"),
    (LOCAL, "size.cpus", "2", "cpus"),
    (LOCAL, "size.memory", "1GB", "deployment.size.memory"),
    (LOCAL, "size.memory", "1K", "deployment.size.memory: must be a whole number of MiB"),
    (LOCAL, "size.memory", 0, "deployment.size.memory"),
    (LOCAL, "size.memory", -(1 << 30), "deployment.size.memory"),
    (LOCAL, "size.memory", None, "memory is missing"),
    (LOCAL, "network.ports", [], "deployment.network.ports: must be 1 to 16 different ports"),
    (LOCAL, "network.ports", [1, 1], "deployment.network.ports: must be 1 to 16 different ports"),
    (LOCAL, "network.ports", list(range(1, 18)), "deployment.network.ports"),
    (LOCAL, "network.ports", [0], "'0' is not a port"),
    (LOCAL, "network.ports", [65536], "'65536' is not a port"),
    (LOCAL, "network.ports", ["443"], "'443' is not a port"),
    (LOCAL, "network.ports", [True], "'True' is not a port"),
    (LOCAL, "network.ports", None, "ports is missing"),
    (LOCAL, "network.egress", None, "egress is missing"),
    (LOCAL, "network.ports", [1, 2], "a local machine has one port"),
    (LOCAL, "network.egress", ["tcp:443"], "a local machine has one port"),
    (LOCAL, "network.domain", "notary.example", "a local machine has one port"),
    (LOCAL, "network.address", "192.0.2.1", "a local machine has one port"),
    (LOCAL, "network.mac", "52:54:00:12:34:56", "a local machine has one port"),
    (LOCAL, "notary.deployment", "Not A Label", "deployment.notary"),
    (LOCAL, "notary.peers", [], "unknown member peers"),
    (LOCAL, "update.strategy", "rolling", "deployment.update.strategy"),
    (LOCAL, "update.timeout", 0, "deployment.update.timeout: 0 is not from 1 to 86400"),
    (LOCAL, "update.timeout", 86401, "deployment.update.timeout"),
    (LOCAL, "update.timeout", None, "timeout is missing"),
    (METAL, "platform.host", "", "deployment.platform.host"),
    (METAL, "platform.host", "-oProxyCommand=x", "deployment.platform.host"),
    (METAL, "platform.host", "-l@host", "deployment.platform.host"),
    (METAL, "platform.host", "host:0", "deployment.platform.host"),
    (METAL, "platform.host", "host:ssh", "deployment.platform.host"),
    (METAL, "platform.host", None, "host is missing"),
    (METAL, "platform.knownHosts", None, "knownHosts is missing"),
    (METAL, "platform.knownHosts", "", "deployment.platform.knownHosts: must be a path"),
    (METAL, "platform.knownHosts", "a\nb", "deployment.platform.knownHosts: must be a path"),
    (METAL, "platform.key", "", "deployment.platform.key: must be a path"),
    (METAL, "platform.tee", None, "tee is missing"),
    (METAL, "platform.tee", "sev", "deployment.platform.tee: 'sev' is not one of tdx, insecure_none"),
    (METAL, "platform.tee", "none", "deployment.platform.tee"),
    (METAL, "platform.machine", None, "machine is missing"),
    (METAL, "platform.machine", "any", "deployment.platform.machine"),
    (METAL, "platform.machine", "ppid:00", "deployment.platform.machine"),
    (METAL, "platform.machine", "ab" * 32, "deployment.platform.machine"),
    (METAL, "platform.tee", "insecure_none", "deployment.platform.machine: nothing proves which machine it is"),
    (METAL, "platform.network", "nat", "deployment.platform.network"),
    (METAL, "platform.network", "bridge:", "deployment.platform.network"),
    (METAL, "platform.network", "bridge:a b", "deployment.platform.network"),
    (METAL, "platform.network", "bridge:br0\n", "deployment.platform.network"),
    (METAL, "platform.network", "macvtap:a2345678901234567", "deployment.platform.network"),
    (METAL, "platform.boot", "disk", "unknown member boot"),
    (METAL, "network.domain", "Notary.example", "deployment.network.domain"),
    (METAL, "network.domain", "a..b", "deployment.network.domain"),
    (METAL, "network.domain", ".".join(["a" * 63] * 4), "deployment.network.domain"),
    (METAL, "network.domain", "a;b", "deployment.network.domain"),
    (METAL, "network.address", "host.example", "deployment.network.address"),
    (METAL, "network.address", "192.0.2.1/24", "deployment.network.address"),
    (METAL, "network.address", "fe80::1%eth0; drop", "deployment.network.address"),
    (METAL, "network.address", "0.0.0.0", "deployment.network.address"),
    (METAL, "network.address", "::", "deployment.network.address"),
    (METAL, "network.address", "127.0.0.1", "deployment.network.address"),
    (METAL, "network.address", "224.0.0.1", "deployment.network.address"),
    (METAL, "network.mac", "52:54:00:12:34:56", "deployment.network.mac: is for bridge and macvtap"),
    (METAL, "network.ports", [22], "22 is the port by which the host itself is reached"),
    (METAL, "network.egress", ["443"], "'443' is not tcp:PORT or udp:PORT"),
    (METAL, "network.egress", ["tcp:0"], "deployment.network.egress"),
    (METAL, "network.egress", ["tcp:65536"], "deployment.network.egress"),
    (METAL, "network.egress", ["tcp:443; accept"], "deployment.network.egress"),
    (METAL, "network.egress", [443], "deployment.network.egress"),
    (BRIDGED, "update.strategy", "blue-green", 'strategy must be "replace"'),
    (BRIDGED, "network.address", None, "address and mac are required"),
    (BRIDGED, "network.mac", None, "address and mac are required"),
    (BRIDGED, "network.mac", "52:54:00:12:34:5G", "deployment.network.mac"),
    (BRIDGED, "network.mac", "53:54:00:12:34:56", "deployment.network.mac"),
    (BRIDGED, "network.ports", [444], "ports are of 443 and 8443"),
    (BRIDGED, "network.egress", ["tcp:443"], "egress is []"),
]


@pytest.mark.parametrize(("document", "path", "value", "words"), REFUSED, ids=lambda one: str(one)[:30])
def test_what_cannot_work_is_refused_with_its_place(
    document: dict[str, Any], path: str, value: Any, words: str
) -> None:
    parse(document)
    with pytest.raises(FormatError) as caught:
        parse(changed(document, path, value))
    assert words in str(caught.value)
    assert str(caught.value).startswith("deployment")


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        path = f"{at}.{name}" if at else name
        if isinstance(inner, dict):
            yield from leaves(inner, path)
        else:
            yield path, inner


documents = st.sampled_from((LOCAL, METAL, BRIDGED))
names = st.text(st.sampled_from("abcdefgkrtTIx_-0"), min_size=1, max_size=12)


@given(documents, st.sampled_from(("", "platform", "size", "network", "notary", "update")), names)
def test_a_key_that_is_not_known_is_refused_wherever_it_stands(document: dict[str, Any], at: str, name: str) -> None:
    inside = document[at] if at else document
    known = {"platform": ("boot", "accelerator", "key", "profile", "network"), "notary": ("deployment",)}
    known["network"] = ("domain", "address", "mac")
    if name in inside or name in known.get(at, ()):
        return
    with pytest.raises(FormatError, match="unknown member"):
        parse(changed(document, f"{at}.{name}" if at else name, 1))


@given(documents, st.data())
def test_a_value_of_another_kind_is_refused_and_nothing_else_is_raised(
    document: dict[str, Any], data: st.DataObject
) -> None:
    path, old = data.draw(st.sampled_from(list(leaves(document))))
    value = data.draw(st.one_of(st.booleans(), st.integers(), st.text(max_size=9), st.lists(st.integers(), max_size=2)))
    try:
        parse(changed(document, path, value))
    except FormatError:
        return
    assert type(value) is type(old) or path == "size.memory", f"{path} = {value!r}"


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(PlutoError):
        Deployment.parse(text, HERE)
