#!/bin/busybox sh
# shellcheck shell=dash disable=SC1091,SC2154
# The first program of the virtual machine: makes the file system outside its own, read only below
# a layer in memory, and hands over to main.sh in there.
#
# Whatever fails ends this shell, and a kernel without its first process panics. The console tells.
set -eu

/bin/busybox --install -s /bin
PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t debugfs debug /sys/kernel/debug
exec >/dev/console 2>&1

# kernel, version, share and modules.
. /settings

for module in $modules; do
    insmod "/modules/$module"
done

mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose root /outside
mount -t tmpfs -o mode=755 layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/outside,upperdir=/layer/upper,workdir=/layer/work root /inside

mount -t tmpfs -o mode=755 run /inside/run
mkdir /inside/run/netns /inside/run/mesh-lab /inside/run/mesh-vm
cp /main.sh /errand.sh /inside/run/mesh-vm
mkdir -p "/inside$share"
# Nothing is cached: what was written is outside when the machine stops.
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share "/inside$share"
# The kernel asks for modules by itself as well, and always there.
if [ ! -e "/inside/lib/modules/$version" ]; then
    mkdir -p /inside/lib/modules
    ln -s "$kernel" "/inside/lib/modules/$version"
fi

for place in proc sys dev; do
    mount -o move "/$place" "/inside/$place"
done
exec switch_root /inside /bin/sh /run/mesh-vm/main.sh
