"""A trust domain's image on this computer: the bare-metal machine under QEMU with a software TPM, attested.

`machine` decides, the other modules carry out. Nothing here needs privilege or a program of the host.
"""
