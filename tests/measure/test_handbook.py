"""docs/measurements.md is what the code predicts, and every event that it predicts is explained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pluto_measure.cli import main
from pluto_measure.digests import Digests
from pluto_measure.handbook.catalogue import ENTRIES, entry, family
from pluto_measure.handbook.page import launch_for, page, sample_launch, sample_machines
from pluto_measure.predict import predict
from simulators import machines

PAGE = Path(__file__).resolve().parents[2] / "docs/measurements.md"


def predicted_roles() -> set[str]:
    """Every role of every kind of machine, generation and stub that can be predicted."""
    launch = sample_launch()
    roles = {event.role for platform in sample_machines().values() for event in predict(launch_for(platform), platform)}
    new = machines.bare_metal(
        edk2_generation=202505,
        smbios=Digests.of(b""),
        boot_variables=machines.variables(BootOrder=b"\0\0", Boot0000=b""),
        secure_boot=machines.keys(b"a"),
    )
    return roles | {event.role for event in predict(replace(launch, stub="262"), new)}


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), "run 'make docs'"


def test_every_predicted_event_is_explained_and_nothing_else() -> None:
    assert {family(role) for role in predicted_roles()} == set(ENTRIES)


def test_an_entry_is_found_by_a_role_or_its_family() -> None:
    assert entry("section:.linux") is entry("section:")
    assert entry("separator:ready") is not entry("separator:secure-boot")
    with pytest.raises(KeyError):
        entry("coffee")


def test_the_command_prints_one_all_or_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "td-hob"]) == 0
    assert capsys.readouterr().out.startswith("td-hob\n  what          the memory that the VMM gave")
    assert main(["events", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(ENTRIES)
    assert main(["events"]) == 0
    assert all(len(line) <= 100 for line in capsys.readouterr().out.splitlines())
    assert main(["events", "--markdown"]) == 0
    assert capsys.readouterr().out == page()
    assert main(["events", "coffee"]) == 2
    assert "hint: run 'pluto-measure events'" in capsys.readouterr().err
