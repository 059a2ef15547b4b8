#!/bin/sh
# The first process of the virtual machine from here on: runs the errand, reports how it ended, and
# switches the machine off. Whatever the errand leaves behind is its child, and goes with it.

# port NUMBER: its file, whose name also has the number of the device among all devices.
port() {
    echo /dev/vport*p"$1"
}

# They appear some time after their driver was loaded.
until [ -c "$(port 1)" ] && [ -c "$(port 2)" ] && [ -c "$(port 3)" ]; do
    sleep 0.1
done

# The kernel would find out what meshd's table needs one module after the other, for a minute.
/sbin/modprobe -a nf_tables nft_objref nft_limit nft_fib_inet nft_reject_inet nft_ct nft_chain_nat nft_masq nft_log \
    nfnetlink_log vxlan

status=0
/bin/sh /run/mesh-vm/errand.sh </dev/null >"$(port 1)" 2>"$(port 2)" || status=$?
if [ "$status" -ne 0 ]; then
    dmesg >/dev/console
fi
echo "$status" >"$(port 3)"

echo o >/proc/sysrq-trigger
# It takes a moment, in which there has to be a first process.
while :; do
    sleep 1
done
