#!/usr/bin/env bash
# Builds the program of routers for every processor and prints how large it is: the file, and what of it a
# compressed file system holds.
#
# usage: openwrt/cross/package.sh [TARGET...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

[ $# -gt 0 ] || set -- mips mipsel armv7 aarch64 x86_64

table=()
for target; do
    for variant in tiny no-redeem full; do
        mesh=$(openwrt/cross/build.sh "$target" "$variant")/mesh
        # squashfs of OpenWrt: xz in blocks of 256 KiB, with the filter of the processor; this is xz alone.
        xz=$(xz --stdout --keep --threads=1 -9e "$mesh" | wc -c)
        table+=("$target $variant $(stat --format %s "$mesh") $xz")
    done
done

printf '%-8s  %-9s  %10s  %10s\n' target variant bytes xz
for row in "${table[@]}"; do
    # shellcheck disable=SC2086
    printf '%-8s  %-9s  %10s  %10s\n' $row
done
