#!/bin/bash
# Make the given tree the root of this mount namespace and run mkosi in its /build.
set -e
tree=$1
mount --bind "$tree" "$tree"
cd "$tree"
mkdir -p old
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
pivot_root . old
cd /build
umount -l /old
export HOME=/ PATH=/usr/sbin:/usr/bin:/sbin:/bin
rm -rf mkosi.output
mkdir -p mkosi.output
exec mkosi --force --cache-dir=/var/cache/mk --output-dir=mkosi.output build
