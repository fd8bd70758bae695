"""Statements that anyone can verify: their digests, their keys, the proof file and its judgement."""
