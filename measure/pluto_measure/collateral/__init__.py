"""Collateral over time: fetched from Intel or a PCCS, kept in a state directory, never older than what was seen."""
