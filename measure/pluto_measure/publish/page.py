"""A release as one HTML page: who rebuilt what, who disagrees, what a rebuild confirms and what not. Pure.

It shows what `pluto-measure release --json` says and decides nothing. Disagreement comes first, whatever the verdict.
One file, without scripts and without anything loaded; `page_kit` escapes every text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pluto_measure.page_kit import NOTHING, code, document, items, lines, members, pairs, section, table, text
from pluto_measure.publish.signers import duration
from pluto_measure.wording import counted

Json = Mapping[str, Any]
_MARKS: Final = {"fail": ("bad", "✗", "refused"), "warning": ("warn", "!", "warnings"), "pass": ("good", "✓", "passed")}
_WORTHS: Final = {
    "counts": ("good", "✓", "signed these bytes"),
    "confirms": ("good", "✓", "says that it is still good"),
    "revokes": ("bad", "✗", "revoked it"),
    "disagrees": ("bad", "✗", "disagrees"),
    "other": ("warn", "!", "signed something else"),
    "unknown": ("warn", "!", "nobody who is trusted"),
    "invalid": ("bad", "✗", "does not hold"),
}
_SILENT: Final = ("soft", "–", "said nothing")


def page(release_json: Json, *, command: str) -> str:
    """The page. `command` is what made it."""
    name = f"{release_json.get('name')} {release_json.get('version')}"
    title = "Accepted" if release_json.get("accepted") is True else "Refused"
    body = (
        _verdict(release_json, name, title),
        "<main>",
        _disagreements(items(release_json.get("disagreements"))),
        _why(release_json, "Why", "fail"),
        _why(release_json, "Warnings", "warning"),
        _organisations(release_json),
        _files(release_json),
        _registers(members(release_json.get("registers"))),
        _signatures(items(release_json.get("signatures"))),
        _checks([members(one) for one in items(release_json.get("findings"))]),
        "</main>",
        f"<footer><h2>The command</h2><pre><code>{text(command)}</code></pre>",
        f'<p class="soft">Made by pluto-measure release; judged as of {text(release_json.get("at"))}.</p></footer>\n',
    )
    return document(f"{title}: {name}", "\n".join(part for part in body if part))


def _verdict(release: Json, name: str, title: str) -> str:
    kind, mark = ("good", "✓") if title == "Accepted" else ("bad", "✗")
    who, age = members(release.get("signers")), members(release.get("confirmation")).get("maxAge")
    signed = items(who.get("organisations"))
    words = {"Accepted": "Enough of those whom you trust signed this release.", "Refused": "Do not run this release."}
    against = len(items(release.get("disagreements")))
    more = " <strong>But not all of them agree: see below.</strong>" if against and title == "Accepted" else ""
    facts = pairs(
        (
            ("Release", f"{text(name)} ({text(release.get('flavour'))})"),
            ("Place", f"{text(release.get('channel'))}, number {text(release.get('sequence'))}"),
            ("Signed by", text(", ".join(map(str, signed)) or "nobody")),
            ("Wanted", f"{text(who.get('wanted'))} of {len(items(who.get('trusted')))}"),
            ("Confirmed within", text(duration(age) if isinstance(age, int) else age)),
            ("Valid until", text(release.get("notAfter"))),
            ("Judged as of", text(release.get("at"))),
            ("Build id", code(release.get("buildId"))),
            ("Statement", code(release.get("statement"))),
        )
    )
    head = f'<h1><span aria-hidden="true">{mark}</span> {title}</h1><p>{words[title]}{more}</p>'
    return f'<header class="{kind}">{head}{facts}</header>'


def _disagreements(found: Sequence[Any]) -> str:
    """Who got or signed something else, and each file and register in which it differs."""
    parts = []
    for one in map(members, found):
        said = f'<span class="said">{text(one.get("text"))}</span><br><code>{text(one.get("file"))}</code>'
        parts.append(f"<h3>{text(one.get('organisation'))} disagrees</h3>")
        parts.append(f'<ul class="why"><li class="bad">{said}</li></ul>')
        for title, name in (("File", "artifacts"), ("Register", "registers"), ("Copied, not rebuilt", "apart")):
            rows = [
                (f"<strong>{text(each.get('what'))}</strong>", _both(each))
                for each in map(members, items(one.get(name)))
            ]
            parts.append(table((title, "What it is"), rows))
    return section("Disagreement", *parts)


def _both(differing: Json) -> str:
    sides = (("the release", differing.get("expected")), ("theirs", differing.get("actual")))
    return pairs((name, lines(value or "nothing")) for name, value in sides)


def _why(release: Json, title: str, verdict: str) -> str:
    shown = "".join(
        f'<li class="{_MARKS[verdict][0]}"><span class="said">{text(finding.get("text"))}</span><br>'
        f'<a href="#check-{index}"><code>{text(finding.get("id"))}</code></a></li>'
        for index, finding in _numbered(release)
        if finding.get("verdict") == verdict
    )
    return section(title, f'<ul class="why">{shown}</ul>') if shown else ""


def _numbered(release: Json) -> Iterator[tuple[int, Json]]:
    return enumerate(map(members, items(release.get("findings"))))


def _organisations(release: Json) -> str:
    """Each organisation of the trust file: what it says of the release, and when it last said that it is good."""
    when = members(members(release.get("confirmation")).get("organisations"))
    signatures = [members(one) for one in items(release.get("signatures"))]
    rows = []
    for name in items(members(release.get("signers")).get("trusted")):
        worths = dict.fromkeys(str(one.get("worth")) for one in signatures if one.get("organisation") == name)
        said = "<br>".join(_mark(*_worth(worth)) for worth in worths) or _mark(*_SILENT)
        rows.append((f"<strong>{text(name)}</strong>", said, text(when.get(name))))
    return section("Who says what", table(("Organisation", "Says", "Last confirmed"), rows))


def _files(release: Json) -> str:
    """Every released file; beside it who has another one."""
    against: dict[str, list[str]] = {}
    for one in map(members, items(release.get("disagreements"))):
        for each in map(members, items(one.get("artifacts"))):
            against.setdefault(str(each.get("what")), []).append(str(one.get("organisation")))
    signed = ", ".join(map(str, items(members(release.get("signers")).get("organisations")))) or "nobody"
    rows = []
    for name, digests in members(release.get("artifacts")).items():
        said = _mark(*_WORTHS["disagrees"][:2], ", ".join(dict.fromkeys(against[name]))) if name in against else ""
        rows.append((f"<strong>{text(name)}</strong>", code(members(digests).get("sha256")), said or NOTHING))
    note = f"<p>Each of these has this SHA-256 for {text(signed)}, who signed the statement.</p>"
    listed = f"<details><summary>{counted(len(rows), 'file')}</summary><div>{note}"
    return section("Files", f"{listed}{table(('File', 'SHA-256', 'Otherwise for'), rows)}</div></details>")


def _registers(platforms: Json) -> str:
    rows = [
        (f"<strong>{text(name)}</strong>", *(text(items(members(by).get(source))) for source in _SOURCES))
        for name, by in platforms.items()
    ]
    note = (
        "<p>A rebuild computes the registers of the first kind again and so confirms them. What was observed on a "
        "machine, or endorsed by somebody else, stands in the sources and is copied: those who signed vouch for it, "
        "and no rebuild shows that it is so.</p>"
    )
    return section("Registers", note, table(("Machine", *_SOURCES.values()), rows)) if rows else ""


_SOURCES: Final = {"computed": "Computed", "observed": "Observed", "endorsed": "Endorsed"}


def _signatures(found: Sequence[Any]) -> str:
    rows = []
    for one in map(members, found):
        said = f"{_mark(*_worth(str(one.get('worth'))))}<br>{text(one.get('text'))}"
        who = pairs((("signer", code(one.get("signer"))), ("logged at", text(one.get("signedAt")))))
        rows.append((f"<code>{text(one.get('file'))}</code>", said + who))
    return section("Signatures", table(("File", "What it is worth"), rows))


def _checks(findings: Sequence[Json]) -> str:
    """All findings by verdict, each group to be opened and closed; what refuses is open."""
    groups = []
    for verdict, (kind, mark, word) in _MARKS.items():
        rows = [(index, one) for index, one in enumerate(findings) if one.get("verdict") == verdict]
        if rows:
            body = "".join(_check(index, finding) for index, finding in rows)
            head = '<thead><tr><th scope="col">Check</th><th scope="col">What it says</th></tr></thead>'
            summary = f'<summary class="{kind}"><span aria-hidden="true">{mark}</span> {len(rows)} {word}</summary>'
            rest = f'<div><table class="stack">{head}<tbody>{body}</tbody></table></div>'
            groups.append(f"<details{'' if verdict == 'pass' else ' open'}>{summary}{rest}</details>")
    return section("All checks", *groups)


def _check(index: int, finding: Json) -> str:
    values = pairs((name, lines(finding.get(name))) for name in ("expected", "actual"))
    check = f'<td class="check"><code>{text(finding.get("id"))}</code></td>'
    return f'<tr id="check-{index}">{check}<td>{text(finding.get("text"))}{values}</td></tr>'


def _worth(worth: str) -> tuple[str, str, str]:
    """What is not known here counts for nothing."""
    return _WORTHS.get(worth, _WORTHS["invalid"])


def _mark(kind: str, mark: str, word: str) -> str:
    return f'<span class="{kind}"><span aria-hidden="true">{mark}</span> {text(word)}</span>'
