"""What Azure says when it refuses, in short words, and what to do about it. Pure.

Azure Resource Manager answers {error: {code, message, details}}; some of its providers answer {code, message} bare.
Text is cut to what helps: ids of people and of the tenant stay out of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pluto_deploy.cloud.door import Answer, CloudError

_QUOTA: Final = re.compile(
    r"exceeding approved (?P<what>[\w .-]{1,80}?) quota.*?Current Limit: (?P<limit>\d{1,9})"
    r"\D+Current Usage: (?P<usage>\d{1,9})\D+Additional Required: (?P<more>\d{1,9})",
    re.S | re.I,
)
_ACTION: Final = re.compile(r"perform action '(?P<action>[\w./*-]{1,200})'(?: over scope '(?P<scope>[^']{1,600})')?")
_PROVIDER: Final = re.compile(r"namespace '(?P<name>[\w.]{1,80})'")
_SIGNED: Final = re.compile(r"\b(sig|se|skoid|sktid)=[^&\s'\"]*", re.I)

# An action's beginning, and the least of the built-in roles that has it.
_ROLES: Final = (
    ("Microsoft.Compute/skus/", "Reader", "the subscription"),
    ("Microsoft.Compute/locations/", "Reader", "the subscription"),
    ("Microsoft.Compute/register/", "Contributor", "the subscription"),
    ("Microsoft.Network/register/", "Contributor", "the subscription"),
    ("Microsoft.Compute/galleries/", "Contributor", "the resource group"),
    ("Microsoft.Compute/disks/beginGetAccess/", "Contributor", "the resource group"),
    ("Microsoft.Compute/disks/endGetAccess/", "Contributor", "the resource group"),
    ("Microsoft.Compute/", "Virtual Machine Contributor", "the resource group"),
    ("Microsoft.Network/", "Network Contributor", "the resource group"),
)
_ELSEWHERE: Final = "choose another size, zone or region in the deployment file"
_HINTS: Final[Mapping[str, str]] = {
    "SkuNotAvailable": f"the size is not to be had there for this subscription now: {_ELSEWHERE}",
    "AllocationFailed": f"the region has no room for this size now: wait and run apply again, or {_ELSEWHERE}",
    "ZonalAllocationFailed": "the zone has no room for this size now: leave `zone` out, name another one, or wait",
    "OverconstrainedAllocationRequest": f"no host fits all that was asked for: {_ELSEWHERE}",
    "ResourceGroupNotFound": "make it first: az group create --name GROUP --location LOCATION",
    "SubscriptionNotFound": "check `subscription`, and that this login may see it",
    "InvalidAuthenticationTokenTenant": "check `tenant`: the subscription belongs to another one",
    "OSProvisioningTimedOut": "Azure waited for the guest to report itself: the image has to be a specialized one",
    "MissingSubscriptionRegistration": "register it once: az provider register --namespace {provider}",
    "SubscriptionNotRegistered": "register it once: az provider register --namespace {provider}",
    "PublicIPCountLimitReached": "raise the quota for public addresses, or remove one that nothing uses",
    "RequestDisallowedByPolicy": "a policy of the organisation forbids it: ask who administers the subscription",
    "ScopeLocked": "a lock on the resource group forbids it: az lock list --resource-group GROUP",
}
# Refused for now because something else is being done to the same thing, or was a moment ago.
BUSY: Final = frozenset(
    {
        "AnotherOperationInProgress",
        "AttachDiskWhileBeingDetached",
        "Conflict",
        "NicReservedForAnotherVm",
        "OperationPreempted",
        "ReferencedResourceNotProvisioned",
        "RetryableError",
        "RetryableErrorDueToAnotherOperation",
    }
)


def explain(answer: Answer) -> tuple[str, str]:
    """Code and words of an answer, for a Door."""
    try:
        document: Any = json.loads(answer.body)
    except ValueError:
        return "", ""
    return told(document)


def told(document: object) -> tuple[str, str]:
    """Code and words of an error's JSON, in both of its forms; the innermost detail says most."""
    found = document.get("error", document) if isinstance(document, dict) else None
    if not isinstance(found, dict):
        return "", ""
    code, message = found.get("code"), found.get("message")
    details = found.get("details")
    inner = next((one for one in details if isinstance(one, dict)), None) if isinstance(details, list) else None
    if inner is not None and isinstance(inner.get("code"), str) and inner.get("message"):
        code, message = inner["code"], inner["message"]
    code = code if isinstance(code, str) else ""
    return code, shortened(code, message if isinstance(message, str) else "")


def shortened(code: str, message: str) -> str:
    """What of a message helps."""
    if quota := _QUOTA.search(message):
        amounts = f"{quota['usage']} of {quota['limit']} are in use and {quota['more']} more are needed"
        return f"the quota {quota['what']} is too small: {amounts}"
    if code in ("AuthorizationFailed", "LinkedAuthorizationFailed") and (action := _ACTION.search(message)):
        return f"this login may not do {action['action']}"
    if code in ("MissingSubscriptionRegistration", "SubscriptionNotRegistered") and (name := _PROVIDER.search(message)):
        return f"the subscription is not registered for {name['name']}"
    return _SIGNED.sub(r"\1=…", " ".join(message.split()))


def hint(error: CloudError) -> str | None:
    """What to do, by the code and by what `shortened` left."""
    if error.problem.startswith("the quota "):
        return "ask for more: Azure portal, Quotas, Compute; or choose a size of another family"
    if error.code in ("AuthorizationFailed", "LinkedAuthorizationFailed"):
        action = error.problem.rpartition(" ")[2] + "/"
        role = next(((role, where) for begin, role, where in _ROLES if action.startswith(begin)), None)
        role = role or ("Contributor", "the resource group")
        return f'give this login the role "{role[0]}" on {role[1]}'
    provider = (
        error.problem.rpartition(" ")[2] if error.problem.startswith("the subscription is not") else "Microsoft.Compute"
    )
    found = _HINTS.get(error.code)
    return None if found is None else found.format(provider=provider)


def hinted(error: CloudError) -> CloudError:
    """The same error with what to do about it."""
    if error.hint is None:
        error.hint = hint(error)
    return error
