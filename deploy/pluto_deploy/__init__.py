"""Deployment: start machines from a build and let nothing serve that was not verified."""
