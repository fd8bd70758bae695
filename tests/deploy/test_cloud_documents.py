"""docs/operations/google.md and azure.md: a reader's way from an empty account to a notary, and back to nothing.

Each command of a `console` block is typed as shown, in the page's order, against pretended clouds, with the exit code
and the output that it shows. All else that could be typed is marked *by hand*.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents.shown import shown
from documents.typed import DOCS, Outcome, Page, check
from pluto_deploy import cli as deploy_cli
from pluto_deploy.azure import errors as azure_errors
from pluto_deploy.azure.names import Names as AzureNames
from pluto_deploy.deployment import Deployment
from pluto_deploy.google import errors as google_errors
from pluto_deploy.google.names import RULES
from pluto_deploy.google.names import Names as GoogleNames
from pluto_measure import cli as measure_cli
from pluto_measure import command
from pluto_measure.machine.platform import Platform
from simulators import cloud_deployments, machines, tdvf_images
from simulators.azure_cloud.cloud import SUBSCRIPTION
from simulators.azure_cloud.login import CLIENT, TENANT
from simulators.cloud_deployments import AZURE, SPACE, TDX
from simulators.cloud_desk import Desk, desk
from simulators.google.state import PROJECT

ROOT = Path(__file__).resolve().parents[2]
PAGES = {name: Page(f"operations/{name}").text for name in ("google", "azure")}
UNTESTED = Page("operations/untested").text
OURS = {"google": {"PROJECT": PROJECT, "BUCKET": "our-bucket"}}
OURS["azure"] = {"TENANT": TENANT, "SUBSCRIPTION": SUBSCRIPTION, "APPID": CLIENT}
TYPED = re.compile(r"`((?:gcloud|az|curl|openssl|pluto-deploy|pluto-measure) [^`]+)`")
SOURCES = "".join(path.read_text() for path in sorted((ROOT / "deploy/pluto_deploy").rglob("*.py")))
# What the second kind of Google's machines need not show again: the same commands, which the first one has shown.
AGAIN = ("Own image", "Upgrade")


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)


def paragraphs(page: str) -> Iterator[str]:
    """Prose and tables, without what stands in fences."""
    yield from re.split(r"\n\s*\n", re.sub(r"```.*?```", "", page, flags=re.DOTALL))


def says_by_hand(prose: str) -> bool:
    return "*by hand*" in " ".join(prose.lower().split())


def file_of(page: str, begin: str) -> str:
    """The file whose block begins so."""
    [found] = [one for one in blocks(PAGES[page], "toml") if one.startswith(begin)]
    for name, value in OURS[page].items():
        found = found.replace(name, value)
    return found.replace("timeout = 900", "timeout = 60")


def sections(page: str, without: tuple[str, ...] = ()) -> str:
    return "".join(part for part in re.split(r"^(?=## )", page, flags=re.MULTILINE) if not part[3:].startswith(without))


def releases(mine: Desk) -> None:
    """One that is right, one that boots something else, one that is right again."""
    for number, mode in ((1, "honest"), (2, "other-image"), (3, "honest")):
        mine.release(f"release-{number}", number, mode=mode)
    mine.files()


def typed(mine: Desk, page: str) -> None:
    """Every command of the page; a person does what the page leaves to one before the command that needs it."""
    for one in shown(page):
        by_hand(mine, one.command)
        done = mine.run(one.command)
        check(one, Outcome.of(done))
        if one.command.endswith("> policy.toml"):
            mine.policy()
    assert mine.cloud.left() == []
    assert "Traceback" not in mine.said


def by_hand(mine: Desk, line: str) -> None:
    """What a person did before this command."""
    if "evidence.json" in line:
        nonce, key = bytes(32), bytes(32)
        seen = cloud_deployments.Seen(cloud_deployments.build_of("release-1", "honest"), "honest")
        (mine.work / "evidence.json").write_text(cloud_deployments.evidence(mine.kind, seen, nonce, key).to_text())
    elif "google.toml" in line:
        log = json.loads((mine.work / "log.json").read_text())
        acpi = [one["digests"]["sha384"] for one in log["events"] if one["type"] == "EV_PLATFORM_CONFIG_FLAGS"]
        text = file_of("google", "# google.toml")
        for name, digest in zip(("LOADER", "RSDP", "TABLES"), acpi, strict=True):
            text = text.replace(name, digest)
        (mine.work / "google.toml").write_text(text)
        (mine.work / "ovmf.fd").write_bytes(tdvf_images.image())
    elif line.startswith("pluto-deploy ") and mine.azure is not None and not mine.azure.logins.certificates:
        mine.certified(mine.work / "login.crt")


@pytest.mark.slow
def test_google_a_machine_of_our_own_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk(tmp_path, TDX) as mine:
        with monkeypatch.context() as unseen:
            unseen.setattr(machines, "google", lambda: Platform.default("gcp-tdx"))
            mine.release("release-0", 1)  # of a machine that nobody looked at
        releases(mine)
        mine.kept()
        (mine.work / "notary.toml").write_text(file_of("google", "# notary.toml"))
        typed(mine, PAGES["google"])
        predicted = mine.run("pluto-measure predict release-0 --platforms google.toml --profile google --registers")
        rtmr0 = json.loads((mine.work / "log.json").read_text())["registers"]["rtmr0"]
        assert f"rtmr0  {rtmr0}" in predicted.stdout, "what was looked at gives what the machine had"


@pytest.mark.slow
def test_google_confidential_space(tmp_path: Path) -> None:
    with desk(tmp_path, SPACE) as mine:
        releases(mine)
        own, space = file_of("google", "# notary.toml"), file_of("google", "# [platform] for Confidential Space")
        text = re.sub(r"\[platform\]\n.*?\n\n", lambda _: f"{space}\n", own, flags=re.DOTALL)
        (mine.work / "notary.toml").write_text(text)
        typed(mine, sections(PAGES["google"], AGAIN))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no peer: openssl")
def test_azure(tmp_path: Path) -> None:
    with desk(tmp_path, AZURE) as mine:
        releases(mine)
        mine.kept()
        (mine.work / "notary.toml").write_text(file_of("azure", "# notary.toml"))
        typed(mine, PAGES["azure"])
        assert "PRIVATE KEY" not in mine.said


@pytest.mark.parametrize("page", PAGES)
def test_what_no_test_runs_is_marked(page: str) -> None:
    text = PAGES[page]
    assert {one for one in re.findall(r"^```(\w*)$", text, re.MULTILINE) if one} == {"console", "sh", "toml"}
    for before in re.split(r"```sh\n", text)[:-1]:
        prose = re.sub(r"```.*?```", "", before, flags=re.DOTALL)
        assert says_by_hand(re.split(r"\n\s*\n", prose.strip())[-1]), prose[-300:]
    ran = [shlex.split(one.command) for one in shown(text)]
    for part in paragraphs(text):
        for line in TYPED.findall(part):
            words = [word for word in shlex.split(line.replace("…", "")) if word]
            is_shown = any(words == one[: len(words)] for one in ran)
            assert is_shown or says_by_hand(part), line


@pytest.mark.parametrize("page", [*PAGES, "untested"])
def test_commands_by_hand_are_commands(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of ours: words that the programs would take."""
    monkeypatch.setattr(command, "run", lambda top, words: top.parse_args(words))
    text = UNTESTED.partition("## 9. ")[2] if page == "untested" else "".join(blocks(PAGES[page], "sh"))
    lines = re.findall(r"^(?:\$ )?(pluto-(?:deploy|measure) .*(?:\\\n.*)*)", text, re.MULTILINE)
    assert len(lines) >= 1
    for line in lines:
        program, *words = shlex.split(line.replace("\\\n", " "))
        if program == "pluto-deploy":
            assert deploy_cli.main(words) is not None
        else:
            assert measure_cli.build_parser(words[0]).parse_args(words)


@pytest.mark.parametrize("page", PAGES)
def test_the_table_of_a_certificate_fits_the_file(page: str, tmp_path: Path) -> None:
    text = file_of(page, "# notary.toml").replace("[8443]", "[443]") + file_of(page, "# beside [network]")
    found = Deployment.parse(text.encode(), tmp_path)
    assert (found.network.ports, found.network.domain) == ((443,), "notary.example")
    assert found.certificate is not None
    assert found.certificate.directory.startswith("https://acme-v02.")


def test_every_thing_that_is_made_stands_on_its_page() -> None:
    google, azure = GoogleNames("notary"), AzureNames("notary", "notaries")
    rules = [google.rule(which).removeprefix("pluto-notary") for which in RULES]
    wanted = [f"`{google.address}`", f"{google.tag}`", google.folder, google.instance("a")[:-1] + "SLOT", *rules]
    assert not [one for one in wanted if one not in PAGES["google"]]
    places = [azure.public(None), azure.open, azure.closed, azure.vnet]
    names = [*(place.name for place in places), azure.definition.names[1], azure.vm("a").name[:-1] + "SLOT"]
    names += [azure.made_disk("a").name.replace("-a-", "-SLOT-"), azure.gallery.name.rpartition("_")[0]]
    assert not [one for one in names if one not in PAGES["azure"]]
    digest = "0123456789abcdef" * 4
    assert azure.disk(digest, 3).name == f"pluto-notary-{digest[:20]}-3"
    assert google.image(digest) == f"pluto-notary-{digest[:40]}"


def test_a_role_that_an_error_advises_is_given_on_the_page() -> None:
    google = {re.findall(r"roles/[\w.]+", role)[0] for _, role in google_errors._ROLES}
    assert not [one for one in google - {"roles/iam.serviceAccountTokenCreator"} if f"`{one}`" not in PAGES["google"]]
    given = set(re.findall(r"--role \"?(roles/[\w.]+|[A-Z]\w+)", PAGES["google"] + PAGES["azure"]))
    given |= {f"roles/{one}" for one in re.findall(r"compute\.\w+(?:\.v1)?(?=[ ;])", PAGES["google"])}
    assert google - {"roles/iam.serviceAccountTokenCreator"} <= given
    assert {role for _, role, _ in azure_errors._ROLES} <= given | set(re.findall(r"`([A-Z][\w ]+)`", PAGES["azure"]))


@pytest.mark.parametrize("page", PAGES)
def test_words_of_errors_are_what_commands_say(page: str) -> None:
    known = SOURCES + (DOCS / "formats/policy.md").read_text()
    known += "".join((DOCS / f"formats/{name}.md").read_text() for name in ("launch-endorsement", "azure-evidence"))
    rows = re.findall(r"^\| (`.*?) \| ", sections(PAGES[page]).partition("## When it fails")[2], re.MULTILINE)
    assert len(rows) >= 5
    for row in rows:
        for phrase in re.findall(r"`(.*?)`", row):
            for piece in phrase.split("…"):
                assert piece.strip() in known or re.fullmatch(r"register\.rtmr\d", piece), piece


def test_what_is_untested_is_linked_and_numbered() -> None:
    titles = re.findall(r"^## (\d+)\. (.*)$", UNTESTED, re.MULTILINE)
    assert [int(number) for number, _ in titles] == list(range(1, len(titles) + 1))
    anchors = {f"{number}-{re.sub(r'[^a-z0-9 -]', '', title.lower()).replace(' ', '-')}" for number, title in titles}
    table = UNTESTED.partition("## 1. ")[0]
    assert set(re.findall(r"\(#([^)]+)\)", table)) == anchors
    for part in re.split(r"^## ", UNTESTED, flags=re.MULTILINE)[1:]:
        assert "```console" in part, part[:40]
        assert "Expect" in part, part[:40]
        assert "Not shown" in part or part[:2] in ("7.", "8."), part[:40]
    linked = {one for page in PAGES.values() for one in re.findall(r"untested\.md#([^)]+)\)", page)}
    assert linked <= anchors
