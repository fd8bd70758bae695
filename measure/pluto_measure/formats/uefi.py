"""UEFI structures that firmware measures or logs: variables, boot options, device paths, signature lists, image loads.

Formats: UEFI 2.10 sections 3.1.3 (EFI_LOAD_OPTION), 10.3 (device paths), 32.4.1 (signature lists); TCG PC Client
Platform Firmware Profile sections 10.2 and 10.4.

    UEFI_VARIABLE_DATA   GUID, u64 name_length, u64 data_length, char16 name[], u8 data[]
    EFI_LOAD_OPTION      u32 attributes, u16 path_length, char16 description[] NUL, path[path_length], u8 optional[]
    device path node     u8 type, u8 subtype, u16 length (with these four bytes), u8 data[]; ends with 7f ff 0004
    EFI_SIGNATURE_LIST   GUID type, u32 list_size, u32 header_size, u32 signature_size, header[], signatures[]
    image load event     u64 address, u64 length, u64 link_address, u64 path_length, path[]
    tagged event         u32 tag, u32 size, u8 data[size]
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from pluto_measure.formats.reader import Reader

GLOBAL_VARIABLE: Final = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le
IMAGE_SECURITY: Final = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f").bytes_le
X509_SIGNATURE: Final = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072").bytes_le

_MOST_NODES: Final = 64
_ENTIRE_END: Final = (0x7F, 0xFF)
_PNP0A03: Final = bytes.fromhex("d041030a")  # EISA identifier of a PCI root bridge


@dataclass(frozen=True, slots=True)
class Variable:
    """UEFI_VARIABLE_DATA: the GUID as it lies in memory, the name, the content."""

    guid: bytes
    name: str
    data: bytes

    def encode(self) -> bytes:
        """The bytes that EV_EFI_VARIABLE_DRIVER_CONFIG digests; the name has no NUL."""
        name = self.name.encode("utf-16-le")
        sizes = (len(name) // 2).to_bytes(8, "little") + len(self.data).to_bytes(8, "little")
        return self.guid + sizes + name + self.data


@dataclass(frozen=True, slots=True)
class PathNode:
    """One node of a device path."""

    type: int
    subtype: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LoadOption:
    """EFI_LOAD_OPTION: the content of a Boot#### variable. `paths` may hold several device paths."""

    attributes: int
    description: str
    paths: tuple[tuple[PathNode, ...], ...]
    optional_data: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """One entry of a signature database: list type, owner, content (for X509_SIGNATURE a DER certificate)."""

    type: bytes
    owner: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class ImageLoad:
    """UEFI_IMAGE_LOAD_EVENT: logged, but never covered by the event's digest."""

    address: int
    length: int
    link_address: int
    path: tuple[PathNode, ...]


def parse_variable(data: bytes) -> Variable:
    """UEFI_VARIABLE_DATA that fills `data` exactly. FormatError."""
    r = Reader(data, what="UEFI variable")
    guid, name_length, data_length = r.take(16, "GUID"), r.uint(8, "name length"), r.uint(8, "data length")
    name = _text(r.take(2 * name_length, "name"), r)
    content = r.take(data_length, "data")
    r.end()
    return Variable(guid, name, content)


def parse_load_option(data: bytes) -> LoadOption:
    """The content of a Boot#### variable. FormatError."""
    r = Reader(data, what="load option")
    attributes, path_length = r.uint(4, "attributes"), r.uint(2, "path length")
    characters = bytearray()
    while (character := r.take(2, "description")) != b"\0\0":
        characters += character
    description = _text(bytes(characters), r)
    path = r.sub(path_length, "device path")
    paths = []
    while path.left:
        paths.append(_path(path))
    return LoadOption(attributes, description, tuple(paths), r.rest())


def parse_path(data: bytes) -> tuple[PathNode, ...]:
    """One device path that fills `data` exactly, without its end node. FormatError."""
    r = Reader(data, what="device path")
    nodes = _path(r) if data else ()
    r.end()
    return nodes


def encode_path(nodes: tuple[PathNode, ...]) -> bytes:
    """A device path with its end node."""
    sizes = [(4 + len(node.data)).to_bytes(2, "little") for node in nodes]
    parts = [bytes([node.type, node.subtype]) + size + node.data for node, size in zip(nodes, sizes, strict=True)]
    return b"".join(parts) + b"\x7f\xff\x04\0"


def parse_signatures(data: bytes) -> tuple[Signature, ...]:
    """All entries of PK, KEK, db or dbx: a sequence of EFI_SIGNATURE_LISTs. FormatError."""
    r = Reader(data, what="signature lists")
    found = []
    while r.left:
        kind, list_size = r.take(16, "type"), r.uint(4, "list size")
        header_size, size = r.uint(4, "header size"), r.uint(4, "signature size")
        if list_size < 28 + header_size or size < 16 or (list_size - 28 - header_size) % size:
            raise r.error(f"list of {list_size} bytes does not hold signatures of {size}")
        r.take(header_size, "header")
        body = r.sub(list_size - 28 - header_size, "signatures")
        while body.left:
            found.append(Signature(kind, body.take(16, "owner"), body.take(size - 16, "signature")))
    return tuple(found)


def parse_image_load(data: bytes) -> ImageLoad:
    """UEFI_IMAGE_LOAD_EVENT that fills `data` exactly. FormatError."""
    r = Reader(data, what="image load event")
    address, length, link = r.uint(8, "address"), r.uint(8, "length"), r.uint(8, "link address")
    path = parse_path(r.take(r.uint(8, "path length"), "path"))
    r.end()
    return ImageLoad(address, length, link, path)


def parse_tagged(data: bytes) -> tuple[int, bytes]:
    """Tag and content of an EV_EVENT_TAG. FormatError."""
    r = Reader(data, what="tagged event")
    tag = r.uint(4, "tag")
    content = r.take(r.uint(4, "size"), "data")
    r.end()
    return tag, content


def path_text(nodes: tuple[PathNode, ...]) -> str:
    """A device path for people: the forms that start-up files meet, others by number and hex."""
    return "/".join(_node_text(node) for node in nodes)


def _path(r: Reader) -> tuple[PathNode, ...]:
    nodes: list[PathNode] = []
    while True:
        kind, subtype, length = r.uint(1, "type"), r.uint(1, "subtype"), r.uint(2, "length")
        if length < 4 or len(nodes) > _MOST_NODES:
            raise r.error(f"node {len(nodes)} of {length} bytes")
        data = r.take(length - 4, "node")
        if (kind, subtype) == _ENTIRE_END:
            if data:
                raise r.error("end node is not empty")
            return tuple(nodes)
        nodes.append(PathNode(kind, subtype, data))


def _node_text(node: PathNode) -> str:
    match node.type, node.subtype, len(node.data):
        case 1, 1, 2:
            return f"Pci({node.data[1]},{node.data[0]})"
        case 2, 1, 8:
            name = "PciRoot" if node.data[:4] == _PNP0A03 else f"Acpi.{node.data[:4].hex()}"
            return f"{name}({int.from_bytes(node.data[4:], 'little')})"
        case 4, 1, 38:
            return f"HD({int.from_bytes(node.data[:4], 'little')},{node.data[20:36].hex()})"
        case 4, 3, 16:
            return f"VenMedia({uuid.UUID(bytes_le=node.data)})"
        case 4, 4, _:
            return "File(" + node.data.decode("utf-16-le", "replace").rstrip("\0") + ")"
        case 4, 6, 16:
            return f"FvFile({uuid.UUID(bytes_le=node.data)})"
        case 4, 7, 16:
            return f"Fv({uuid.UUID(bytes_le=node.data)})"
        case _:
            return f"{node.type}.{node.subtype}({node.data.hex()})"


def _text(raw: bytes, r: Reader) -> str:
    try:
        return raw.decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise r.error("name is not UTF-16") from error
