"""Measurements: predict what a boot measures, replay logs, verify and appraise evidence."""
