#!/bin/sh
# First process of a namespaced host: mounts what a booted system has, then becomes systemd.
# boot.sh FOLDER: run by supervisor.py in new mount, network, pid, uts, ipc and time namespaces.
set -eu
host=$1
umask 022

if [ "${2:-}" != entered ]; then
    read -r go # the supervisor has put the network card in
    echo 0 >"$host/cgroup/$3/cgroup.procs"
    exec unshare --cgroup sh "$0" "$host" entered "$3" </dev/null
fi

cd "$host/root"
mount -t proc -o nosuid,nodev,noexec proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net # belongs to this network namespace
mount -o remount,bind,ro proc/sys
if [ -e proc/sysrq-trigger ]; then
    mount --bind proc/sysrq-trigger proc/sysrq-trigger
    mount -o remount,bind,ro proc/sysrq-trigger
fi
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid dev dev
mount -t tmpfs -o mode=755,nosuid,nodev run run
mount -t tmpfs -o mode=1777,nosuid,nodev tmp tmp

node() { mknod -m "$2" "dev/$1" c "$3" "$4"; }
node null 666 1 3
node zero 666 1 5
node full 666 1 7
node random 666 1 8
node urandom 666 1 9
node tty 666 5 0
mkdir -p dev/pts dev/shm dev/net dev/cpu
node net/tun 666 10 200
mount -t devpts -o newinstance,mode=620,ptmxmode=666,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
: >dev/console
mount --bind "$(cat "$host/console.tty")" dev/console

# A boot id of its own, as systemd-nspawn gives one.
cat /proc/sys/kernel/random/uuid >run/boot_id
mount --bind run/boot_id proc/sys/kernel/random/boot_id
rm run/boot_id

if [ -d "$host/like" ]; then
    . "${0%/*}/hardware.sh"
fi

pivot_root . .
umount -l .
# What would reach past the namespaces: the clock, modules, ports and the kernel log of the machine.
exec chroot . /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin container=pluto \
    /usr/bin/setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog \
    /sbin/init </dev/console >/dev/console 2>&1
