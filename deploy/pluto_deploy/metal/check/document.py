"""Reads the document that `probe.py` writes. Pure and strict: a host is not trusted to send what its probe would.

Grammar: the dictionaries of `probe.py`. Every text is made fit for a terminal.
"""

from __future__ import annotations

from typing import Any, Final

from pluto_deploy.metal.check.facts import (
    Answer,
    Disk,
    File,
    HostFacts,
    Kernel,
    Memory,
    Processor,
    Provisioning,
    Quoting,
    Registers,
    Service,
    System,
)
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads

VERSION: Final = 1
LIMIT: Final = 1 << 20  # bytes of the document
_WHAT: Final = "the host's facts"
_TEXT: Final = 400  # characters of one text
_MANY: Final = 512  # items of one list
_NUMBER: Final = 1 << 62
_NONE: Final = type(None)


def parse_facts(text: bytes | str) -> HostFacts:
    """Read the probe's document. FormatError."""
    fields = Fields(loads(text, what=_WHAT, limit=LIMIT), what=_WHAT)
    if _number(fields, "version") != VERSION:
        raise FormatError(_WHAT, f"version is not {VERSION}")
    facts = HostFacts(
        processor=_processor(fields.sub("processor")),
        registers=_registers(fields.sub("registers")),
        kernel=_kernel(fields.sub("kernel")),
        system=_system(fields.sub("system")),
        devices={name: _file(value) for name, value in _items(fields.take("devices", dict), "devices")},
        services={name: _service(value) for name, value in _items(fields.take("services", dict), "services")},
        quoting=_quoting(fields.sub("quotes")),
        provisioning=_provisioning(fields.sub("provisioning")),
        registration=_text(fields, "registration"),
        memory=_memory(fields.sub("memory")),
        disk=_disk(fields.sub("disk")),
        nft=bool(fields.take("nft", bool)),
    )
    fields.end()
    return facts


def _processor(fields: Fields) -> Processor:
    found = Processor(
        vendor=_text(fields, "vendor"),
        family=_number(fields, "family"),
        model=_number(fields, "model"),
        stepping=_number(fields, "stepping"),
        name=_text(fields, "name"),
        flags=frozenset(_texts(fields, "flags") or ()),
        threads=_number(fields, "threads") or 0,
        sockets=_number(fields, "sockets") or 0,
    )
    fields.end()
    return found


def _registers(fields: Fields) -> Registers:
    state = _one_of(fields, "state", "read", "absent", "denied")
    values: dict[int, int | None] = {}
    for name, value in _items(fields.take("values", dict), fields.what):
        try:
            number = int(name, 16) if len(name) < 12 else -1
            values[number] = None if value is None else int.from_bytes(bytes.fromhex(value), "big")
        except (TypeError, ValueError) as error:
            raise FormatError(fields.what, "a register is not a number in hex") from error
        if number < 0 or (value is not None and len(value) != 16):
            raise FormatError(fields.what, "a register is not 8 bytes in hex")
    fields.end()
    return Registers(state, values)


def _kernel(fields: Fields) -> Kernel:
    config = fields.take("config", dict, _NONE)
    if config is not None and not all(isinstance(value, str) for _, value in _items(config, fields.what)):
        raise FormatError(fields.what, "config must have texts")
    log = _texts(fields, "log")
    _text(fields, "logSource")
    found = Kernel(
        release=_text(fields, "release"),
        config=config,
        parameters=_texts(fields, "parameters") or (),
        hibernation=fields.take("hibernation", bool, _NONE),
        crash_kernel=fields.take("crashKernel", bool, _NONE),
        log=log,
        kvm=fields.take("kvm", bool),
        kvm_tdx=fields.take("kvmTdx", bool, _NONE),
        kvm_sgx=fields.take("kvmSgx", bool, _NONE),
        tdx_module=_text(fields, "tdxModule"),
    )
    fields.end()
    return found


def _system(fields: Fields) -> System:
    texts = {name: _text(fields, name) for name in ("id", "release", "name", "maker", "product", "firmware")}
    found = System(systemd=_number(fields, "systemd"), **texts)
    fields.end()
    return found


def _file(value: object) -> File | None:
    if value is None:
        return None
    fields = Fields(value, what="a file of the host")
    kind = _one_of(fields, "kind", "character", "socket", "folder", "file", "other")
    found = File(kind, _number(fields, "mode") or 0, _text(fields, "owner") or "", _text(fields, "group") or "")
    fields.end()
    return found


def _service(value: object) -> Service | None:
    if value is None:
        return None
    fields = Fields(value, what="a service of the host")
    found = Service(*(_text(fields, name) or "" for name in ("load", "active", "enabled", "result")))
    fields.end()
    return found


def _quoting(fields: Fields) -> Quoting:
    answer = fields.sub("answer")
    state = _one_of(answer, "state", "answered", "error", "absent", "refused", "silent", "malformed")
    found = Quoting(
        configured=fields.take("configured", bool),
        port=_number(fields, "port"),
        threads=_number(fields, "threads"),
        folder=_file(fields.take("folder", dict, _NONE)),
        socket=_file(fields.take("socket", dict, _NONE)),
        state=state,
        code=_number(answer, "code") if state == "error" else None,
        platform=_text(answer, "platform") if state == "answered" else None,
    )
    if state == "answered":
        _number(answer, "tdqe")
        _number(answer, "pce")
        _text(answer, "cpuSvn")
    answer.end()
    fields.end()
    return found


def _provisioning(fields: Fields) -> Provisioning:
    answer, certificate = _optional(fields, "answer"), _optional(fields, "certificate")
    ppid = None if certificate is None else _text(certificate, "ppid")
    if ppid is not None and (len(ppid) != 32 or set(ppid) - set("0123456789abcdef")):
        raise FormatError(fields.what, "ppid must be 16 bytes in hex")
    found = Provisioning(
        configured=fields.take("configured", bool),
        readable=fields.take("readable", bool),
        url=_text(fields, "url"),
        secure=fields.take("secure", bool, _NONE),
        answer=_answer(answer),
        certificate=_answer(certificate),
        ppid=ppid,
    )
    fields.end()
    return found


def _answer(fields: Fields | None) -> Answer | None:
    if fields is None:
        return None
    state = _one_of(fields, "state", "answered", "untrusted", "unreachable", "no-https")
    answered = state == "answered"
    found = Answer(
        state=state,
        status=_number(fields, "status") if answered else None,
        tls=_one_of(fields, "tls", "verified", "unverified") if answered else None,
        reason=_bounded(fields.get("reason", None, str, _NONE), fields, "reason"),
    )
    fields.end()
    return found


def _memory(fields: Fields) -> Memory:
    modules = fields.take("modules", list, _NONE)
    whole = all(one is None or (type(one) is int and 0 <= one < _NUMBER) for one in modules or ())
    if not whole or len(modules or ()) > _MANY:
        raise FormatError(fields.what, "modules must be sizes")
    found = Memory(
        total=_number(fields, "total"),
        available=_number(fields, "available"),
        swap=_number(fields, "swap"),
        modules=None if modules is None else tuple(modules),
    )
    fields.end()
    return found


def _disk(fields: Fields) -> Disk:
    found = Disk(_text(fields, "path") or "/", _number(fields, "free"), _number(fields, "total"))
    fields.end()
    return found


def _optional(fields: Fields, name: str) -> Fields | None:
    value = fields.take(name, dict, _NONE)
    return None if value is None else Fields(value, what=f"{fields.what}.{name}")


def _text(fields: Fields, name: str) -> str | None:
    return _bounded(fields.take(name, str, _NONE), fields, name)


def _texts(fields: Fields, name: str) -> tuple[str, ...] | None:
    value = fields.take(name, list, _NONE)
    if value is None:
        return None
    if len(value) > _MANY or not all(isinstance(one, str) for one in value):
        raise FormatError(fields.what, f"{name} must be at most {_MANY} texts")
    return tuple(str(_bounded(one, fields, name)) for one in value)


def _bounded(text: str | None, fields: Fields, name: str) -> str | None:
    """A text fit for a terminal: what does not print is replaced."""
    if text is None:
        return None
    if len(text) > _TEXT:
        raise FormatError(fields.what, f"{name} has more than {_TEXT} characters")
    return "".join(character if character.isprintable() else "?" for character in text)


def _number(fields: Fields, name: str) -> int | None:
    value = fields.take(name, int, _NONE)
    if value is not None and not 0 <= value < _NUMBER:
        raise FormatError(fields.what, f"{name} is out of range")
    return None if value is None else int(value)


def _one_of(fields: Fields, name: str, *words: str) -> str:
    value = str(fields.take(name, str))
    if value not in words:
        raise FormatError(fields.what, f"{name} is not one of {', '.join(words)}")
    return value


def _items(value: dict[str, Any], what: str) -> list[tuple[str, Any]]:
    if len(value) > _MANY or any(len(name) > _TEXT for name in value):
        raise FormatError(what, "too much")
    return list(value.items())
