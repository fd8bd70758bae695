"""What Google's services say when they do not do what was asked, and what helps. Pure.

Bodies of errors have three forms: {"error": {code, message, status, errors: [{reason}], details: [...]}} of the APIs,
{"error": word, "error_description": text} of the token services (RFC 6749, section 5.2), and anything of proxies.
An operation that failed has `error.errors` [{code, message}] in an answer whose status is 200.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pluto_deploy.cloud.door import Answer, CloudError
from pluto_deploy.google.reply import Reply
from pluto_measure.wording import printable

SERVICE: Final = "Google Compute Engine"
NOT_ENABLED: Final = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})
# Stock-outs of a zone; codes of operations, and reasons of refusals.
CAPACITY: Final = (
    "ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "RESOURCE_POOL_EXHAUSTED",
    "REGION_RESOURCE_POOL_EXHAUSTED", "STOCKOUT", "resourceAvailability",
)  # fmt: skip
QUOTA: Final = ("QUOTA_EXCEEDED", "quotaExceeded", "RESOURCE_EXHAUSTED")
EXISTS: Final = ("alreadyExists", "RESOURCE_ALREADY_EXISTS")
NOT_READY: Final = ("resourceNotReady", "RESOURCE_NOT_READY", "RESOURCE_OPERATION_IN_PROGRESS")

_API: Final = re.compile(r"[a-z]{3,40}\.googleapis\.com")
_PERMISSION: Final = re.compile(
    r"\b(compute|iam|storage|artifactregistry|confidentialcomputing)(\.[a-zA-Z]{2,40}){1,3}\b"
)
# The smallest predefined role that has a permission, by the beginning of its name; the first that fits.
_ROLES: Final = (
    ("iam.serviceAccounts.actAs", "roles/iam.serviceAccountUser (on the machine's service account)"),
    ("iam.serviceAccounts.getAccessToken", "roles/iam.serviceAccountTokenCreator (on the impersonated account)"),
    ("compute.firewalls.", "roles/compute.securityAdmin"),
    ("compute.networks.updatePolicy", "roles/compute.securityAdmin"),
    ("compute.addresses.", "roles/compute.networkAdmin"),
    ("compute.", "roles/compute.instanceAdmin.v1"),
    ("storage.", "roles/storage.objectAdmin (on the bucket)"),
    ("artifactregistry.", "roles/artifactregistry.repoAdmin (on the repository)"),
    ("confidentialcomputing.", "roles/confidentialcomputing.workloadUser (for the machine's service account)"),
)


def explain(answer: Answer) -> tuple[str, str]:
    """The service's word for what is wrong, and its sentence; ("", "") of an answer that has neither."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return "", ""
    error = value.get("error") if isinstance(value, Mapping) else None
    if isinstance(error, str):
        described = value.get("error_description")
        return error, described if isinstance(described, str) else ""
    if not isinstance(error, Mapping):
        return "", ""
    code = next((one["reason"] for one in _objects(error, "errors") if isinstance(one.get("reason"), str)), "")
    for detail in _objects(error, "details"):
        if detail.get("reason") in NOT_ENABLED:
            code = detail["reason"]
    if not code and isinstance(error.get("status"), str):
        code = error["status"]
    message = error.get("message")
    return code, message if isinstance(message, str) else ""


def advised(error: CloudError, project: str) -> CloudError:
    """The same error with what helps against it, where that is known."""
    if error.hint is not None:
        return error
    if error.code in NOT_ENABLED:
        api = _API.search(error.problem)
        name = api[0] if api is not None else "compute.googleapis.com"
        error.hint = f"enable it: gcloud services enable {name} --project {project}"
    elif error.code in QUOTA:
        error.hint = f"see what is left: gcloud compute project-info describe --project {project}"
    elif error.status == 403 and (found := _PERMISSION.search(error.problem)):
        role = next(
            (role for start, role in _ROLES if found[0].startswith(start)), "a role that whoever owns it can give"
        )
        error.hint = f"{found[0]} is in {role}; see gcloud projects add-iam-policy-binding {project}"
    return error


def failed(operation: Reply, act: str) -> CloudError | None:
    """What an operation that is done says went wrong; None where nothing did."""
    errors = operation.sub("error").each("errors")
    status = operation.number("httpErrorStatusCode") if "httpErrorStatusCode" in operation else 0
    if not errors and status < 400:
        return None
    code = errors[0].maybe("code") if errors else ""
    words = (errors[0].maybe("message") if errors else "") or operation.maybe("httpErrorMessage") or "it failed"
    return CloudError(SERVICE, act, printable(words)[:300], status=status, code=printable(code)[:80])


def is_capacity(error: CloudError) -> bool:
    """Whether a zone had no room, or says so."""
    return error.code in CAPACITY


def no_room(error: CloudError, *, zone: str, machine_type: str, proven: bool) -> CloudError:
    """A stock-out in words. A zone without TDX answers exactly so, and no interface tells the two apart.

    `proven`: a TDX machine of the project is in this zone.
    """
    if proven:
        problem = f"zone {zone} has no room for a {machine_type} with TDX now; it has TDX, since a machine runs there"
        hint = "try again later; what serves is not touched"
    else:
        problem = (
            f"zone {zone} has no room for a {machine_type} with TDX: either now, or ever, as not every zone has TDX"
        )
        hint = (
            "look the zone up in Google's table of supported configurations for Confidential VM, or name another zone"
        )
    return CloudError(SERVICE, error.act, problem, status=error.status, code=error.code, hint=hint)


def _objects(value: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = value.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
