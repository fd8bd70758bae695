"""Bare-metal TDX hosts: looked at, made ready and used over SSH; one hardened systemd unit per trust domain.

layout      every name on a host          check      what a host can do, and what to do about what it cannot
connection  the door: OpenSSH             prepare    packages, users, quotes, network: pyinfra
worker      pyinfra in its own process    qemu, unit, traffic   what a slot is started with, and what leads to it
"""
