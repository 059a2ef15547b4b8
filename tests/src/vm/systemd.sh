#!/bin/sh
# What main.sh does first where systemd is to be the first process: the rest of it becomes a service, and this process
# systemd. What of the system outside has nothing to do in here is switched off on the kernel's command line.

# Without one, this would be a system that has never been started, and ask how it is to be set up.
[ -s /etc/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id

mkdir -p /run/systemd/system
cat >/run/systemd/system/mesh-lab.service <<'END'
[Unit]
Requires=basic.target
After=basic.target
# The machine is switched off when it is done, and nothing before that.
DefaultDependencies=no
JobTimeoutSec=infinity

[Service]
Type=oneshot
ExecStart=/bin/sh /run/mesh-vm/main.sh errand
TimeoutStartSec=infinity
StandardOutput=null
END
exec /lib/systemd/systemd --unit=mesh-lab.service
