#!/bin/bash
# The first process of the container, until systemd takes its place: makes a root directory of the file system outside
# below a layer in memory, and a service of what is to be run.
#
# usage: start.sh WORK SHARED...
#
# WORK: a directory with errand.sh, where out, err and status appear. SHARED: directories that are the same inside.
set -eu
work=$1
shift
layer=$work/layer
root=$layer/root

mkdir "$layer"
mount -t tmpfs layer "$layer"
mkdir "$layer/upper" "$layer/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" root "$root"
mount -t proc proc "$root/proc"
# Read only, which tells systemd that nobody runs udev in here.
mount -t sysfs -o ro sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t cgroup2 cgroup "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 run "$root/run"
mkdir -p "$root/run/netns" "$root/run/mesh-lab" "$root/run/container" "$root/run/systemd/system"
mount --bind "$work" "$root/run/container"
for place in "$@"; do
    mkdir -p "$place" "$root$place"
    mount --bind "$place" "$root$place"
done
# The provider of the machine's is none of the laboratory's.
if [ -e "$root/etc/resolv.conf" ]; then
    rm -f "$root/etc/resolv.conf"
    touch "$root/etc/resolv.conf"
fi

cat >"$root/run/systemd/system/mesh-lab.service" <<'END'
[Unit]
Requires=basic.target
After=basic.target
DefaultDependencies=no

[Service]
Type=oneshot
ExecStart=/bin/sh -c '/bin/sh /run/container/errand.sh; echo $$? >/run/container/status'
ExecStopPost=/bin/systemctl exit --no-block
StandardInput=null
StandardOutput=append:/run/container/out
StandardError=append:/run/container/err
TimeoutStartSec=infinity
END
# Of the system outside, and of no use here.
for unit in timers.target systemd-timesyncd.service systemd-remount-fs.service dev-hugepages.mount dev-mqueue.mount \
    sys-kernel-debug.mount sys-kernel-tracing.mount; do
    ln -s /dev/null "$root/run/systemd/system/$unit"
done
cd "$root"
exec chroot "$root" /usr/bin/env -i container=mesh-lab PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --unit=mesh-lab.service --log-target=console --log-level=warning --show-status=false
