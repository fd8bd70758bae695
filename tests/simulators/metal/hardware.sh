# Sourced by boot.sh in the new root: mounts what tdx.py wrote to $host/like over the machine's own.

# GRUB's part: what `update-grub` put together is the command line of this boot, and what the kernel makes of it.
like=$host/like
words=" $(cat boot/grub/cmdline 2>/dev/null || :) "
case $words in *" nohibernate "*)
    case $words in *" kvm_intel.tdx=1 "*)
        [ ! -d "$like/set" ] || like=$like/set
        ;;
    esac
    ;;
esac
read -r line <"$like/cmdline"
printf '%s\n' "$line$words" | sed 's/ *$//; s/  */ /g' >run/cmdline
mount --bind run/cmdline proc/cmdline

mount --bind "$like/module" sys/module
mount --bind "$like/cpu" dev/cpu
mount --bind "$like/firmware" sys/firmware
if [ -d sys/devices/faux ]; then
    mount --bind "$like/faux" sys/devices/faux
fi
for name in cpuinfo version; do
    mount --bind "$like/$name" "proc/$name"
done
mount --bind "$like/osrelease" proc/sys/kernel/osrelease
touch run/kernel.log
mount --bind "$like/kernel.log" run/kernel.log

# Programs whose answers come from the machine's kernel, and one that a tree without a boot loader lacks.
mkdir -p usr/local/bin usr/local/sbin
cp -p "$like"/bin/* usr/local/bin/
ln -sf ../bin/update-grub usr/local/sbin/update-grub

# A virtual machine may have no SMBIOS: then the class is made, with the machine's other classes beside it.
if [ ! -d sys/class/dmi/id ]; then
    mkdir -p "$host/class"
    mount --bind sys/class "$host/class"
    mount -t tmpfs -o mode=755 class sys/class
    for class in "$host"/class/*; do
        mkdir "sys/class/${class##*/}"
        mount --bind "$class" "sys/class/${class##*/}"
    done
    umount "$host/class"
    mkdir -p sys/class/dmi/id
    mount -o remount,bind,ro sys/class
fi
mount --bind "$like/dmi" sys/class/dmi/id

. "$like/devices.sh"
