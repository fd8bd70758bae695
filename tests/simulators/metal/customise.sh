#!/bin/sh
# Last step of making the tree ($1): a host gets keys, a machine id and package sources of its own, and timers that
# take apt's lock are off.
set -eu
rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*
: >"$1/etc/machine-id"
chroot "$1" useradd --create-home --shell /bin/bash --gid operator --groups sudo operator
printf 'operator ALL=(ALL) NOPASSWD: ALL\n' >"$1/etc/sudoers.d/operator"
chmod 0440 "$1/etc/sudoers.d/operator"
mkdir -p "$1/var/log/journal"
chroot "$1" systemctl --quiet enable systemd-networkd.service ssh.service
chroot "$1" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer \
    console-getty.service getty@.service systemd-pstore.service
