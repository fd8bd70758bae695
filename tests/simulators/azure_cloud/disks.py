"""Managed disks: ReadyToUpload, ActiveUpload, Unattached, Attached, Reserved; keys; and the pages behind a key."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from typing import Any

from simulators.azure_cloud.cloud import LOCATION, Answer, Cloud, Fault, Json, Refused

MIB = 1 << 20
MOST = 4 * MIB


def make(cloud: Cloud, path: str, value: Json, old: Json | None) -> Callable[[], None]:
    if value["location"] != LOCATION:
        raise Refused(400, "LocationNotAvailableForResourceType")
    creation = value["properties"]["creationData"]
    if creation["createOption"] != "Upload" or creation.get("uploadSizeBytes", 0) % MIB != 512:
        raise Refused(400, "InvalidParameter", "uploadSizeBytes has to be a whole number of MiB and 512 bytes")
    if value["properties"].get("diskSizeGB") is not None:
        raise Refused(400, "InvalidParameter", "diskSizeGB may not be set when createOption is Upload")
    if old is not None:
        if old["properties"]["creationData"] != creation:
            raise Refused(409, "PropertyChangeNotAllowed", "Changing property 'creationData' is not allowed.")
        value["properties"] |= {name: old["properties"][name] for name in ("diskState", "diskSizeBytes")}
        return lambda: None
    value["properties"] |= {"diskState": "ReadyToUpload", "diskSizeBytes": creation["uploadSizeBytes"] - 512}
    cloud.hidden[path.lower()] = {"pages": {}, "size": creation["uploadSizeBytes"]}
    return lambda: None


def post(cloud: Cloud, path: str, action: str, body: Json | None, fault: Fault | None) -> Answer:
    disk = cloud.need(path)
    state = disk["properties"]["diskState"]
    if action == "beginGetAccess":
        assert body is not None
        if body["access"] != "Write" or not 0 < body["durationInSeconds"] <= 4294967295:
            raise Refused(400, "InvalidParameter", "access")
        if state == "ActiveUpload" and cloud.second_key == "refused":
            raise Refused(409, "ConflictingUserInput", "The disk has a shared access signature already.")
        if state not in ("ReadyToUpload", "ActiveUpload"):
            raise Refused(409, "OperationNotAllowed", f"The disk is {state}.")

        def grant() -> Json:
            disk["properties"]["diskState"] = "ActiveUpload"
            key = secrets.token_hex(16)
            cloud.keys[key] = disk["id"]
            return {"accessSAS": f"{cloud.base}/blob/{disk['name']}?sv=2018-03-28&sr=b&sig={key}"}

        return Answer(202, None, cloud.watch(cloud.begin(grant, fault), location=True))

    def revoke() -> None:
        for key in [key for key, whose in cloud.keys.items() if whose == disk["id"]]:
            del cloud.keys[key]
        if disk["properties"]["diskState"] == "ActiveUpload":
            disk["properties"]["diskState"] = "Unattached"

    if state not in ("ActiveUpload", "ActiveSAS"):
        raise Refused(409, "OperationNotAllowed", "The disk has no shared access signature.")
    operation = cloud.begin(revoke, fault)
    return Answer(202, None, cloud.watch(operation) | cloud.watch(operation, location=True))


def refuse_removal(cloud: Cloud, disk: Json) -> None:
    if disk.get("managedBy") or disk["properties"]["diskState"] == "ActiveUpload":
        raise Refused(409, "OperationNotAllowed", f"Disk {disk['name']} is {disk['properties']['diskState']}.")


def content(cloud: Cloud, disk: Json) -> bytes:
    """What is on it."""
    hidden = cloud.hidden[disk["id"].lower()]
    data = bytearray(hidden["size"])
    for offset, page in hidden["pages"].items():
        data[offset : offset + len(page)] = page
    return bytes(data)


def blob(
    cloud: Cloud, method: str, query: dict[str, str], headers: dict[str, str], body: bytes
) -> tuple[int, Any, bytes]:
    """One request to the page blob behind a key: status, headers, body."""
    disk = cloud.find(cloud.keys.get(query.get("sig", "")))
    if disk is None:
        return 403, {"x-ms-error-code": "AuthenticationFailed"}, b"<Error><Code>AuthenticationFailed</Code></Error>"
    hidden = cloud.hidden[disk["id"].lower()]
    if "x-ms-version" not in headers:
        cloud.failures.append("a blob without x-ms-version")
    if method == "HEAD":
        return 200, {"Content-Length": str(hidden["size"]), "x-ms-blob-type": "PageBlob"}, b""
    if method == "GET" and query.get("comp") == "pagelist":
        each = "".join(
            f"<PageRange><Start>{at}</Start><End>{at + len(page) - 1}</End></PageRange>"
            for at, page in sorted(hidden["pages"].items())
        )
        return 200, {}, f'<?xml version="1.0" encoding="utf-8"?><PageList>{each}</PageList>'.encode()
    if method != "PUT" or query.get("comp") != "page":
        cloud.failures.append(f"blob: {method} {sorted(query)}")
        return 400, {}, b""
    first, last = map(int, headers["x-ms-range"].removeprefix("bytes=").split("-"))
    clear = headers["x-ms-page-write"] == "clear"
    if first % 512 or (last + 1) % 512 or last >= hidden["size"] or (not clear and len(body) != last + 1 - first):
        return 416, {"x-ms-error-code": "InvalidPageRange"}, b""
    if len(body) > MOST:
        return 413, {"x-ms-error-code": "RequestBodyTooLarge"}, b""
    if (
        not clear
        and headers.get("content-md5") != base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    ):
        return 400, {"x-ms-error-code": "Md5Mismatch"}, b""
    if clear:
        hidden["pages"] = {at: page for at, page in hidden["pages"].items() if not first <= at <= last}
    else:
        hidden["pages"][first] = body
    return 201, {}, b""
