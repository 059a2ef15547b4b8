#!/usr/bin/env bash
# Builds the last commit twice, in two directories of different names and with all caches of one build out of reach of
# the other, and compares what comes out: every program, and the Debian packages.
#
# usage: systemd/packages/reproducible.sh [PACKAGE...]
#
# PACKAGE: what to build, as for build-release.sh. It takes as long as two builds from nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() {
    local place=$1
    shift
    mkdir -p "$work/$place/source"
    git archive HEAD | tar -x -C "$work/$place/source"
    (
        export CARGO_TARGET_DIR=$work/$place/target
        cd "$work/$place/source"
        systemd/packages/build-release.sh "$@"
        systemd/packages/debian/build.sh "$CARGO_TARGET_DIR/release" "$work/$place/out"
        for program in meshd meshctl redeemd; do
            [ ! -f "$CARGO_TARGET_DIR/release/$program" ] || cp "$CARGO_TARGET_DIR/release/$program" "$work/$place/out/"
        done
    )
    rm -rf "${work:?}/$place/target"
}

build first "$@"
# Longer, as a path may leave its length behind.
build the-second-one/somewhere-else "$@"

(cd "$work/first/out" && sha256sum -- *) >"$work/first.sums"
(cd "$work/the-second-one/somewhere-else/out" && sha256sum -- *) >"$work/second.sums"
if ! diff "$work/first.sums" "$work/second.sums"; then
    echo "not reproducible: the files above differ" >&2
    exit 1
fi
cat "$work/first.sums"
echo "reproducible: $(wc -l <"$work/first.sums") files are the same in both"
