"""The tests of a prepared host, run over SSH by testinfra: `run` starts them, `check_*.py` are they.

They hold a host against what `host prepare` promises and change nothing on it. Files are not named test_*.py, so that
nobody's own tests collect them.
"""
