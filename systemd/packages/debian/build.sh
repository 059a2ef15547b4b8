#!/usr/bin/env bash
# Puts programs that are built already into Debian packages, with all that belongs to them.
#
# usage: systemd/packages/debian/build.sh PROGRAMS OUT [TRIPLE]
#
# PROGRAMS: the directory with meshd, meshctl and redeemd; a package whose programs are not there is left out.
# OUT: where the packages go. TRIPLE: what the programs were built for, if that is not this machine; programs of musl
# targets are static, and need no library of Debian's.
#
# With FAST=1 packages are larger, and made in seconds: for tests.
#
# The same programs make the same packages, byte for byte: files are as old as SOURCE_DATE_EPOCH says, or as the last
# commit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    sed -n 's/^# usage: /usage: /p' "$0" >&2
    exit 2
fi
programs=$1
out=$2
triple=${3:-}

: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
target=${CARGO_TARGET_DIR:-target}
cargo_deb=$(tests/deps.sh cargo-deb-path)
cargo=${CARGO:-cargo}

# What cargo-deb takes for the programs of a profile of this name: all that the packages have and the checkout has not.
profile=package
stage=$target/${triple:+$triple/}$profile
rm -rf "$stage"
mkdir -p "$stage/completions"

# Programs run without what only a debugger reads.
strip_into() {
    local program=$1
    if [ -n "$triple" ] || ! strip -o "$stage/${program##*/}" "$program" 2>/dev/null; then
        cp "$program" "$stage/"
    fi
}

packages=()
if [ -f "$programs/meshd" ] && [ -f "$programs/meshctl" ]; then
    packages+=(meshd)
    strip_into "$programs/meshd"
    strip_into "$programs/meshctl"
    # Both are made by programs of this machine, and say the same on every other.
    "$cargo" run --quiet --locked -p meshctl --example man -- "$stage/man"
    # Without a name and a time of its own in it.
    gzip -9n "$stage"/man/*
    for shell in bash zsh fish; do
        "$cargo" run --quiet --locked -p meshctl -- completions "$shell" >"$stage/completions/$shell"
    done
fi
if [ -f "$programs/redeemd" ]; then
    packages+=(redeemd)
    strip_into "$programs/redeemd"
fi
if [ "${#packages[@]}" -eq 0 ]; then
    echo "build.sh: error: neither meshd with meshctl nor redeemd in $programs" >&2
    exit 1
fi

mkdir -p "$out"
for package in "${packages[@]}"; do
    "$cargo_deb" -p "$package" --locked --no-build --no-strip --no-dbgsym --profile "$profile" \
        ${triple:+--target "$triple"} ${FAST:+--fast} --output "$out/"
done
