"""The page of a verification: what it shows, that it is sound HTML, and that hostile text stays text."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.appraise.page import page
from pluto_measure.appraise.updates import UPDATES
from pluto_measure.page_kit import KIT_STYLE
from simulators.pages import HOSTILE, WIDTHS, Parsed, drawn, sound
from simulators.pages import check as check_page

COMMAND = "pluto-measure verify quote.bin --policy 'a b.toml' --at 2026-11-20T12:00:00Z"
AT = "2026-11-20T12:00:00Z"
A, B, C = "a" * 96, "b" * 96, "c" * 96


def finding(check: str, verdict: str, text: str, expected: object = None, actual: object = None) -> dict[str, object]:
    return {"id": check, "verdict": verdict, "text": text, "expected": expected, "actual": actual}


FULL: dict[str, Any] = {
    "accepted": False,
    "verdict": "refused",
    "authentic": True,
    "evidenceType": "tdx",
    "platform": "gcp-tdx",
    "profile": "gcp-tdx-c3",
    "tcb": {
        "status": "OutOfDate",
        "platform": "OutOfDate",
        "module": "UpToDate",
        "qe": "UpToDate",
        "launch": "OutOfDate",
        "current": "UpToDate",
        "tcbDate": "2024-03-13T00:00:00Z",
        "advisories": ["INTEL-SA-01010", "INTEL-SA-01036"],
    },
    "claims": {"purpose": "session", "nonce": "0a" * 32, "buildId": "0b" * 32},
    "registers": {"mrtd": A, "rtmr0": B, "rtmr1": B, "rtmr2": C},
    "quote": {
        "version": 5,
        "tdReport": "1.5",
        "teeTcbSvn": "0401",
        "teeTcbSvn2": None,
        "tdAttributes": {"value": "0x0000000010000000", "names": ["SEPT_VE_DISABLE"]},
        "xfam": "0x600e7",
        "reportData": "0d" * 64,
        "qe": {"isvSvn": 6},
        "pck": {"ppid": "0e" * 16, "components": [7, 7, 2], "dynamicPlatform": True, "cachedKeys": False},
    },
    "collateral": {
        "tcbInfo": {"evaluationNumber": 21, "issueDate": "2026-06-12T22:19:21Z", "nextUpdate": "2026-07-12T22:19:21Z"},
        "rootCrl": {"number": None, "issueDate": "2026-02-26T13:04:00Z", "nextUpdate": "2027-02-26T13:04:00Z"},
        "expires": {"what": "TCB info", "at": "2026-07-12T22:19:21Z"},
    },
    "explanation": {
        "tcb": {
            "platform": {"name": "platform", "wanted": {"status": "UpToDate"}, "known": []},
            "module": {"name": "TDX module TDX_09", "wanted": None, "known": ["TDX_01", "TDX_03"]},
            "components": [
                {
                    "name": "SGX component 0 (BIOS)",
                    "has": 7,
                    "now": None,
                    "wanted": 9,
                    "lowest": None,
                    "update": "bios",
                },
                {"name": "SGX component 1", "has": 4, "now": 5, "wanted": 8, "lowest": 6, "update": "newer"},
            ],
            "advisoriesGone": ["INTEL-SA-01036"],
            "advisoriesLeft": ["INTEL-SA-01010"],
            "updates": [{"id": "bios", "text": UPDATES["bios"][1]}],
        },
        "early": {"status": "Revoked", "tcbDate": None},
        "log": {
            "register": "rtmr1",
            "index": 17,
            "eventOfRegister": 3,
            "kind": "changed",
            "expected": {"type": "EV_EFI_ACTION", "digests": {"sha384": A}, "description": "the kernel"},
            "actual": None,
            "meaning": "the kernel was left out",
            "attack": "badaml",
        },
    },
    "findings": [
        finding("quote.signature", "pass", "the attestation key signed the quote"),
        finding("tcb.status", "fail", "Intel's verdict is OutOfDate; platform: long words", "UpToDate", "OutOfDate"),
        finding("policy.given", "warning", "no policy was given"),
        finding("log.replay.rtmr1", "warning", "not traced"),
        finding("register.mrtd", "pass", "mrtd is the reference value", f"sha384:{A}", f"sha384:{A}"),
        finding(
            "register.rtmr0", "fail", "rtmr0 is not the reference value", f"sha384:{A} | sha384:{C}", f"sha384:{B}"
        ),
        finding("register.rtmr1", "fail", "the reference says nothing of rtmr1", None, f"sha384:{B}"),
        finding("unheard.of", "other", "of no known verdict"),
    ],
}


def shown(appraisal: dict[str, Any], **given: str) -> Parsed:
    words = {"command": COMMAND, "evidence_name": "quote.bin", "at": AT, **given}
    return sound(Parsed(page(appraisal, **words)))


def test_the_verdict_comes_first_then_why() -> None:
    parsed = shown(FULL)
    assert "✗ Refused The evidence is authentic, but checks refuse it." in parsed.text
    assert "8: 4 refused, 2 with a warning" in parsed.text
    titles = re.findall(r"<h2>([^<]*)</h2>", parsed.html)
    assert titles == [
        "Why",
        "Warnings",
        "Intel&#x27;s verdict on the platform",
        "What falls short",
        "Registers",
        "First event that differs",
        "Collateral",
        "Trust domain",
        "Machine",
        "Claims",
        "All checks",
        "Not proven by this",
        "The command",
    ]
    assert "Intel's verdict is OutOfDate; what falls short is below tcb.status" in parsed.text
    assert parsed.all("a")[0]["href"] == "#check-1"


@pytest.mark.parametrize(
    ("changes", "title", "words"),
    [
        ({"accepted": True, "verdict": "accepted"}, "Accepted", "no check refuses it"),
        ({"authentic": False}, "Refused", "Without collateral nobody can say whether the evidence is authentic."),
        ({"authentic": False, "verdict": "not authentic"}, "Not authentic", "Nothing else in it counts."),
        ({"authentic": None, "verdict": None}, "Not authentic", "Nothing else in it counts."),
        ({"verdict": "yes", "authentic": True}, "Not authentic", "Nothing else in it counts."),
        ({"authentic": True}, "Refused", "checks refuse it"),
    ],
)
def test_verdicts(changes: dict[str, Any], title: str, words: str) -> None:
    parsed = shown({**FULL, **changes})
    assert words in parsed.text
    assert f"<title>{title}: quote.bin</title>" in parsed.html
    assert (parsed.all("header")[0]["class"] == "good") == (title == "Accepted")
    vouched = "Nobody vouches for what follows" not in parsed.text
    assert vouched == (changes.get("authentic", True) is True)


@pytest.mark.parametrize(("kind", "shown_as"), [("tdx", "TDX quote"), ("tpm", "TPM quote"), ("new", "new")])
def test_the_kind_in_words(kind: str, shown_as: str) -> None:
    assert f"Kind {shown_as} Platform" in shown({**FULL, "evidenceType": kind}).text


def test_the_page_ends_with_what_is_not_proven() -> None:
    said = shown(FULL).text.partition("Not proven by this")[2]
    for words in ("Where the machine is, and whose", "collateral is the newest", "after the boot", "no faults"):
        assert words in said
    assert "collateral is the newest" not in shown({**FULL, "collateral": None}).text
    assert "Not proven by this" not in shown({**FULL, "verdict": "not authentic", "authentic": False}).text


def test_intels_verdict_with_its_halves() -> None:
    text = shown(FULL).text
    assert "Verdict OutOfDate Updates are missing that close known holes." in text
    assert "At launch of the TD OutOfDate At present UpToDate Platform OutOfDate TDX module UpToDate" in text
    assert "TCB date 2024-03-13 Advisories INTEL-SA-01010 INTEL-SA-01036" in text
    assert "Intel's early set says Revoked (TCB of –)" in text
    odd = copy.deepcopy(FULL)
    odd["tcb"].update(status="Brand<New>", launch=None, current=None)
    text = shown(odd).text
    assert "Verdict Brand<New> Platform OutOfDate" in text


def test_what_falls_short() -> None:
    text = shown(FULL).text
    assert "Component Has Wants Update SGX component 0 (BIOS) 7 9 BIOS" in text
    assert "SGX component 1 4 (now 5) 8 (min. 6) newer" in text
    assert "TDX module TDX_09: Intel's TCB info does not know this version, only TDX_01 TDX_03." in text
    assert f"in this order {UPDATES['bios'][1]}" in text
    assert "That settles INTEL-SA-01036 These stay INTEL-SA-01010" in text


def test_registers_expected_and_actual() -> None:
    parsed = shown(FULL)
    assert f"mrtd sha384 ✓ passed as expected {A}" in parsed.text
    assert f"rtmr0 sha384 ✗ refused expected {A} {C} actual {B}" in parsed.text
    assert f"rtmr1 sha384 ✗ refused actual {B}" in parsed.text
    assert f"rtmr2 not compared {C}" in parsed.text
    assert f'<code class="value">{A}</code>' in parsed.html  # one click selects it


def test_registers_of_several_banks() -> None:
    of_a_tpm = {"sha256": {"pcr0": "00" * 32, "pcr1": "11" * 32}, "sha384": {"pcr0": A}}
    odd = finding("register.pcr7", "other", "", f"sha256:{'22' * 32} | sha384:{C}", f"sha256:{'33' * 32} | {C}")
    text = shown({"registers": of_a_tpm, "findings": [odd]}).text
    assert f"pcr0 not compared sha256:{'00' * 32} sha384:{A}" in text
    assert f"pcr1 not compared {'11' * 32}" in text
    assert f"pcr7 ✗ refused expected sha256:{'22' * 32} sha384:{C} actual sha256:{'33' * 32} {C}" in text


def test_the_first_event_that_differs() -> None:
    text = shown(FULL).text
    assert "Register rtmr1 Record of the log 17 Event of the register 3 Kind changed" in text
    assert "Meaning the kernel was left out Known attack badaml" in text
    assert f"Expected EV_EFI_ACTION: the kernel sha384:{A} Actual no event here" in text


def test_facts_of_quote_and_collateral() -> None:
    text = shown(FULL).text
    assert "TCB info 21 2026-06-12 2026-07-12" in text
    assert "Root CRL – 2026-02-26 2027-02-26" in text
    assert "First to expire: TCB info, at 2026-07-12T22:19:21Z." in text
    assert "Quote version 5, TD report 1.5 TD attributes SEPT_VE_DISABLE 0x0000000010000000 XFAM 0x600e7" in text
    assert "SGX components 7 7 2 Packages can be added yes Intel keeps its keys no QE ISVSVN 6" in text
    assert "Purpose session Nonce" in text


def test_every_finding_is_listed_and_what_refuses_is_open() -> None:
    parsed = shown(FULL)
    summaries = re.findall(r"<details( open)?><summary[^>]*>(.*?)</summary>", parsed.html)
    assert [(bool(is_open), re.sub("<[^>]*>", "", text)) for is_open, text in summaries] == [
        (True, "✗ 4 refused"),
        (True, "! 2 warnings"),
        (False, "✓ 2 passed"),
    ]
    table = parsed.text.partition("All checks")[2]
    assert "tcb.status Intel's verdict is OutOfDate; platform: long words expected UpToDate actual OutOfDate" in table
    rows = {attributes["id"] for attributes in parsed.all("tr") if "id" in attributes}
    assert rows == {f"check-{index}" for index in range(8)}
    one = shown({"findings": [finding("policy.given", "warning", "no policy")]})
    assert "! 1 warning" in one.text.replace("  ", " ")


def test_a_finding_of_no_known_verdict_refuses() -> None:
    text = shown(FULL).text
    assert "of no known verdict unheard.of" in text.partition("Warnings")[0]


def test_the_command_stands_at_the_foot() -> None:
    parsed = shown(FULL)
    check_page(parsed.html, command=COMMAND)
    assert parsed.text.index(COMMAND) > parsed.text.index("All checks")
    assert f"judged as of {AT}." in parsed.text


def test_nothing_is_loaded_and_nothing_runs() -> None:
    parsed = shown(FULL)
    [policy] = [meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta]
    digest = base64.b64encode(hashlib.sha256(KIT_STYLE.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert f"<style>{KIT_STYLE}</style>" in parsed.html
    assert not re.search(r"url\(|@import|https?:|</", KIT_STYLE)


@pytest.mark.parametrize("appraisal", [{}, dict.fromkeys(FULL), {**FULL, "findings": [None, 1, {}], "quote": []}])
def test_members_that_are_null_or_absent_are_not_shown(appraisal: dict[str, Any]) -> None:
    parsed = shown(appraisal)
    assert "None" not in parsed.text
    assert ("Trust domain" in parsed.text) is False


def test_a_fact_that_is_there_in_part() -> None:
    text = shown(
        {"quote": {"version": 4}, "explanation": {"tcb": {"components": [{}]}, "log": {"kind": "missing"}}}
    ).text
    assert "Quote version 4, TD report –" in text
    text = shown({"quote": {"xfam": "0x3", "tdAttributes": {"value": "0x0"}}, "tcb": {"status": "UpToDate"}}).text
    assert "TD attributes none 0x0 XFAM 0x3" in text


def hostile(value: Any) -> Any:
    """Every text and every name of an object replaced where it is shown: `id` and `verdict` keep their grammar."""
    if isinstance(value, dict):
        return {name: item if name == "verdict" else hostile(item) for name, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


def test_hostile_text_stays_text() -> None:
    appraisal = hostile(FULL)
    appraisal["registers"][f"rtmr3{HOSTILE}"] = HOSTILE
    appraisal["explanation"]["log"]["expected"]["digests"][HOSTILE] = HOSTILE
    appraisal["findings"] = [{**item, "verdict": f"{item['verdict']}"} for item in appraisal["findings"]]
    appraisal["findings"].append(finding(f"register.{HOSTILE}", HOSTILE, HOSTILE, HOSTILE, HOSTILE))
    html = page(appraisal, command=HOSTILE, evidence_name=HOSTILE, at=HOSTILE)
    assert "<script" not in html
    assert "<img" not in html
    parsed = sound(Parsed(html))
    assert parsed.text.count("alert(1)</script>") > 60


def test_characters_that_hide_or_turn_text_are_spelled() -> None:
    parsed = shown(FULL, evidence_name="a\u202eb\x00c\x1b[31m\ud800\u200b\u2028", command="one\ntwo\tthree")
    assert r"a\u{202e}b\u{0}c\u{1b}[31m\u{d800}\u{200b}\u{2028}" in parsed.text
    assert "one\ntwo\\u{9}three" in parsed.html
    parsed.html.encode()


def test_long_text_is_cut_and_says_so() -> None:
    parsed = shown(FULL, command="x" * 5000)
    assert f"{'x' * 4096} … (904 more characters)" in parsed.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40)
@given(st.data())
def test_any_json_gives_a_sound_page(data: st.DataObject) -> None:
    appraisal = copy.deepcopy(FULL)
    places: list[tuple[Any, Any]] = []
    pending: list[Any] = [appraisal]
    while pending:
        value = pending.pop()
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        places += [(value, key) for key in keys]
        pending += [value[key] for key in keys]
    for _ in range(4):
        holder, key = places[data.draw(st.integers(0, len(places) - 1))]
        holder[key] = data.draw(json_values)
    shown(appraisal).html.encode()


def contrast(first: str, second: str) -> float:
    """WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(colour: str) -> float:
        whole = "".join(c * 2 for c in colour) if len(colour) == 3 else colour
        parts = [int(whole[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_every_text_has_the_contrast_of_level_aa(theme: int) -> None:
    colours = dict(
        re.findall(r"--([a-z-]+): #([0-9a-f]+);", KIT_STYLE.split("@media (prefers-color-scheme: dark)")[theme])
    )
    for ink in ("ink", "soft", "good", "bad", "warn"):
        assert contrast(colours[ink], colours["paper"]) >= 4.5, ink
    for ink, box in (
        ("good", "good"),
        ("bad", "bad"),
        ("warn", "warn"),
        *(("ink", b) for b in ("good", "bad", "warn")),
    ):
        assert contrast(colours[ink], colours[f"{box}-box"]) >= 4.5, (ink, box)
    for box in ("good", "bad"):
        assert contrast(colours["soft"], colours[f"{box}-box"]) >= 4.5, box


def test_the_same_result_gives_the_same_page() -> None:
    assert shown(FULL).html == shown(json.loads(json.dumps(FULL))).html


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.parametrize("width", WIDTHS)
def test_chromium_draws_the_page(tmp_path: Path, width: int) -> None:
    drawn(shown(FULL).html, tmp_path, width)
