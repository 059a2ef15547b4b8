#!/usr/bin/env bash
# Builds the programs as they are released: the same source makes the same bytes, wherever it is.
#
# usage: systemd/packages/build-release.sh [PACKAGE...]
#
# PACKAGE: meshd, meshctl, redeemd; all of them by default.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ $# -eq 0 ]; then
    set -- meshd meshctl redeemd
fi
packages=()
for package in "$@"; do
    packages+=(-p "$package")
done

# Places of this machine get into programs with the text of panics, and from C with that of assertions.
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
home=$(realpath -m "${CARGO_HOME:-$HOME/.cargo}")
# The last one that fits counts.
export RUSTFLAGS="--remap-path-prefix=$home=/cargo --remap-path-prefix=$PWD=/meshd --remap-path-prefix=$target=/target"
export CFLAGS="-ffile-prefix-map=$home=/cargo -ffile-prefix-map=$target=/target"
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH CARGO_INCREMENTAL=0

"${CARGO:-cargo}" build --locked --release "${packages[@]}" --bins
