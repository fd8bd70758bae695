"""A bare-metal host for tests: a real systemd with sshd, networkd, nft and apt in namespaces. Needs root.

Fixtures (tests/deploy/metal/conftest.py):

    metal_host          a fresh Host for one test: TDX as it should be, Ubuntu 26.04 by its own words
    shared_metal_host   one Host for the tests of a module
    make_metal_host     make_metal_host(tdx=…, release=…, filter_macs=…, files=…) → started Host, closed after the test
    metal_rootfs        the tree, where a test makes `Host(metal_rootfs, SshKey.new(), …)` itself

A test says `pytestmark = [pytest.mark.root, pytest.mark.slow]`. Import from the modules:

    host.Host           address, port (22), key (path), known_hosts (path), wrong_known_hosts(), ssh_argv(user=…)
                        users `root` and `operator` (sudo without password) accept the key
                        run(argv, data=b"", check=True) → CompletedProcess[str]: the tester's own look, not by ssh
                        read(path), put(path, content, mode), journal(unit), console, root (files for the tester)
                        reboot(), reset() (power cut), power_off(), power_on(), boots, is_on, wait_for_boot(n), pid
                        cut_network(), restore_network(), change_host_key() → known_hosts with the new key
                        limit_disk(folder, size), free_disk(folder), pretend(tdx), dropped_frames()
    network.Wire        host.wire: gateway (the tester's address), mac, routed (a /32), prefix6 (a /64), address6
    tdx.Tdx             Tdx.healthy(); Tdx.unset(): the kernel lacks its words, which GRUB's defaults, `update-grub` and
                        a reboot bring; Tdx.absent(): an older server; dataclasses.replace for one change
    releases            DEBIAN_13, UBUNTU_24_04, UBUNTU_25_10, UBUNTU_26_04
    qgs                 the quote generation service: serving(path, Answers(quote=…)) in this process, also at
                        host.root / "run/tdx-qgs/qgs.socket"; or the daemon of the package; ask(path, type)
    packages            serving(host.wire.gateway, packages) → Archive: key, sources(keyring), publish, spoil, asked
    intel               packages(year=2026 or 2025) that stand for Intel's

What a namespace cannot have, and what stands for it:

    kernel              `uname -r` is a wrapper in /usr/local/bin, /proc/sys/kernel/osrelease and /proc/version are
                        mounted over; the system call tells the machine's
    kernel log          `dmesg` and `journalctl -k` are wrappers that print /run/kernel.log, readable by root alone
    boot loader         `update-grub` reads GRUB's defaults; /proc/cmdline of the next boot has what they say
    modules, clock      capabilities that reach past the namespaces are taken away: CAP_SYS_MODULE, SYS_TIME, SYS_RAWIO,
                        SYSLOG; /sys and /proc/sys (but for net) are read-only
    udev                does not run, as /sys is read-only: device nodes are made at boot and by pretend()
    vsock               is not divided by namespaces: the fake qgsd listens on the abstract socket `vsock:PORT` instead
    memory limits       are set, and enforced only where the machine's cgroups are version 2

The boot id is new with each boot and uptime begins at 0. /run, /tmp, the network namespace with its nft rules, bridges
and settings are new with each boot; the rest of the tree stays until the host is closed.
"""
