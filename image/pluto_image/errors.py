"""Errors of the builder that carry fields of their own. Classes and exit codes: pluto_measure.errors."""

from __future__ import annotations

from collections.abc import Sequence

from pluto_measure.errors import RefusedError, SourceError, VerificationError


class UnavailableError(SourceError):
    """Locked files that no source could deliver. `missing` holds their names, `tried` one line per attempt."""

    hint = "run 'pluto-image lock DIR --update' if the files are gone for good, or give --bundle, --store or --mirror"

    def __init__(self, missing: Sequence[str], tried: Sequence[str]) -> None:
        self.missing, self.tried = list(missing), list(tried)
        names = ", ".join(self.missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        attempts = "; ".join(self.tried[:8]) + (f"; and {len(tried) - 8} more" if len(tried) > 8 else "")
        super().__init__(f"no source delivered {names}; tried {attempts or 'nothing, the network is forbidden'}")


class UnresolvableError(RefusedError):
    """No set of packages satisfies the definition. `chain` says who wanted what."""

    def __init__(self, problem: str, chain: Sequence[str]) -> None:
        self.problem, self.chain = problem, list(chain)
        super().__init__(f"{problem} (wanted by {' < '.join(self.chain)})" if chain else problem)


class UnacknowledgedError(RefusedError):
    """Maintainer scripts that changed and that nobody acknowledged. `changes` names package and script."""

    hint = "read the scripts, carry over what the recipe must do, then run 'pluto-image lock' with --acknowledge NAME"

    def __init__(self, changes: Sequence[str]) -> None:
        self.changes = list(changes)
        super().__init__(f"maintainer scripts changed: {', '.join(self.changes)}")


class SignatureRefusedError(VerificationError):
    """A Release file that is not signed by a pinned key, or not in the time it claims."""

    def __init__(self, archive: str, problem: str) -> None:
        self.archive, self.problem = archive, problem
        super().__init__(f"release file of archive {archive}: {problem}")
