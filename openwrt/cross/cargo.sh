#!/usr/bin/env bash
# cargo for the processors of routers, static against musl.
#
# usage: openwrt/cross/cargo.sh TARGET zigbuild|test ARGUMENT...
#        openwrt/cross/cargo.sh TARGET directory
#
# TARGET is mips, mipsel, armv7, aarch64 or x86_64; `directory` prints where what is built goes. Tests run under
# qemu-user. Needs what `tests/deps.sh package` installs: Debian's Rust, which brings the source of the standard
# library, and zig, which is C compiler, linker and musl for every target.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() {
    printf 'cross: %s\n' "$*" >&2
    exit 1
}

[ $# -ge 2 ] || die "usage: openwrt/cross/cargo.sh TARGET COMMAND ARGUMENT..."

# The processor that is emulated for mips is that of the cheapest routers.
case $1 in
    mips) triple=mips-unknown-linux-musl qemu="qemu-mips-static -cpu 24Kc" ;;
    mipsel) triple=mipsel-unknown-linux-musl qemu="qemu-mipsel-static -cpu 24Kc" ;;
    armv7) triple=armv7-unknown-linux-musleabihf qemu=qemu-arm-static ;;
    aarch64) triple=aarch64-unknown-linux-musl qemu=qemu-aarch64-static ;;
    x86_64) triple=x86_64-unknown-linux-musl qemu=qemu-x86_64-static ;;
    *) die "no target $1: mips, mipsel, armv7, aarch64 or x86_64" ;;
esac
command=$2
shift 2

# Debian's compiler and rustup's share nothing, so neither do their directories.
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/cross
zig=$(tests/deps.sh zig-path)
runner=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$triple")_RUNNER

case $command in
    directory)
        printf '%s\n' "$target/$triple"
        exit
        ;;
    # A panic ends the program, so nothing that unwinds is built.
    zigbuild) std=std,panic_abort ;;
    test) std=std,test ;;
    *) die "no command $command: zigbuild, test or directory" ;;
esac

# Debian's cargo goes before rustup's proxies. RUSTC_BOOTSTRAP allows -Z build-std; link-self-contained=no
# because the objects that start a program are zig's; crt-static because mips would link dynamically.
exec env -u CARGO -u RUSTC -u RUSTUP_TOOLCHAIN \
    PATH="/usr/bin:$zig/bin:$PATH" \
    RUSTC_BOOTSTRAP=1 \
    RUSTFLAGS="-C link-self-contained=no -C target-feature=+crt-static" \
    CARGO_ZIGBUILD_ZIG_PATH="$zig/bin/python-zig" \
    CARGO_TARGET_DIR="$target" \
    "$runner=$qemu" \
    "$zig/bin/cargo-zigbuild" "$command" --locked -Z "build-std=$std" --target "$triple" "$@"
