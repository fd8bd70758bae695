"""A launch whose image nobody could boot: one byte per part, and a digest of its own for each. For tests alone."""

from __future__ import annotations

from pluto_measure.digests import Digests
from pluto_measure.launch import Launch, SectionDigest

LAUNCH = Launch(
    build_id="cd" * 32,
    flavour="release",
    stub="257.13-1~deb13u1",
    uki_size=1,
    uki_digests=Digests.of(b"file"),
    uki_authenticode=Digests.of(b"uki"),
    kernel_size=1,
    kernel_authenticode=Digests.of(b"kernel"),
    sections=tuple(
        SectionDigest(name, 1, Digests.of(name.encode())) for name in (".linux", ".osrel", ".cmdline", ".initrd")
    ),
    handed_initrd_size=1,
    handed_initrd=Digests.of(b"initrd"),
    command_line="console=ttyS0",
    disk_size=1 << 30,
    gpt_event=Digests.of(b"gpt"),
)
