"""Bare-metal TDX hosts: looked at, made ready and used over SSH; one hardened systemd unit per trust domain.

check, profiles               what a host can do, and what to do about what it cannot
prepare, suite                packages, users, quotes, network; and tests that they are there
worker                        pyinfra in its own process
connection, login, exchange   the door: OpenSSH
hands, copying, remote        what is done on a host
layout, seen, slots, refusals every name on it, what is there, what is put there, what is refused. Pure
unit, qemu, traffic           what a slot is started with, and what leads to it. Pure; keeper: what keeps it running
target, leading               the engine's steps
"""
