#!/usr/bin/env bash
# Packs a program that `make package` built into a package for opkg, where OpenWrt's SDK is not at hand.
#
# usage: openwrt/ipk.sh PROGRAM VARIANT ARCHITECTURE DIRECTORY
#
# VARIANT is full or tiny, ARCHITECTURE what `opkg print-architecture` says on the router, such as mipsel_24kc. What
# is installed, and where, is said by the package's Makefile. Prints the file. The same input gives the same file.
set -euo pipefail

[ $# -eq 4 ] || {
    sed -n 's/^# usage: /usage: /p' "$0" >&2
    exit 2
}
program=$(realpath "$1") variant=$2 architecture=$3 to=$(realpath "$4")
cd "$(dirname "${BASH_SOURCE[0]}")/meshd"

case $variant in
    full) extra=", kmod-wireguard" conflicts=meshd-tiny priority=300 ;;
    tiny) extra="" conflicts=meshd-full priority=200 ;;
    *)
        printf 'ipk: no variant %s: full or tiny\n' "$variant" >&2
        exit 1
        ;;
esac
version=$(sed -n 's/^PKG_VERSION:=//p' Makefile)-$(sed -n 's/^PKG_RELEASE:=//p' Makefile)
name=meshd-$variant

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/data" "$work/control"

# The Makefile's lines of installation: $(INSTALL_KIND) ./files/NAME $(1)/PATH
# shellcheck disable=SC2016
install_files() {
    local kind file path mode
    while read -r kind file path; do
        case $kind in
            BIN) mode=755 ;;
            CONF) mode=600 ;;
            *) mode=644 ;;
        esac
        install -D -m "$mode" "$file" "$work/data/$path"
    done < <(sed -n 's|^\t$(INSTALL_\([A-Z]*\)) \(\./files/[^ ]*\) $(1)/\(.*\)$|\1 \2 \3|p' Makefile)
    install -D -m 755 "$program" "$work/data/usr/libexec/$name"
}

write_control() {
    cat >"$work/control/control" <<-EOF
		Package: $name
		Version: $version
		Depends: libc, nftables-json, kmod-vxlan, kmod-nft-core, kmod-nft-nat, kmod-nfnetlink-log$extra
		Provides: meshd
		Conflicts: $conflicts
		Alternatives: $priority:/usr/sbin/meshd:/usr/libexec/$name, $priority:/usr/sbin/meshctl:/usr/libexec/$name
		License: MIT OR Apache-2.0
		Section: net
		Architecture: $architecture
		Installed-Size: $(find "$work/data" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
		Description: Mesh router daemon
	EOF
    echo /etc/config/meshd >"$work/control/conffiles"
    # What OpenWrt's own packages do: run uci-defaults, enable and start; stop and disable.
    local when
    for when in postinst prerm; do
        cat >"$work/control/$when" <<-EOF
			#!/bin/sh
			[ -s "\$IPKG_INSTROOT/lib/functions.sh" ] || exit 0
			. "\$IPKG_INSTROOT/lib/functions.sh"
			default_$when "\$0" "\$@"
		EOF
        chmod 755 "$work/control/$when"
    done
}

# pack DIRECTORY FILE
pack() {
    tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu \
        --directory "$1" . | gzip -9n >"$2"
}

install_files
write_control
mkdir "$work/package"
echo 2.0 >"$work/package/debian-binary"
pack "$work/data" "$work/package/data.tar.gz"
pack "$work/control" "$work/package/control.tar.gz"
ipk=$to/${name}_${version}_$architecture.ipk
pack "$work/package" "$ipk"
printf '%s\n' "$ipk"
