#!/usr/bin/env bash
# Builds the program of routers, meshd and meshctl in one, static and as small as it gets.
#
# usage: openwrt/cross/build.sh TARGET VARIANT
#
# TARGET is one of openwrt/cross/cargo.sh, VARIANT is full, no-redeem or tiny. Prints the directory of `mesh`, and of the
# links `meshd` and `meshctl` to it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target=${1:?target} variant=${2:?variant}
case $variant in
    full) features=redeem,status-page,top ;;
    no-redeem) features=status-page,top ;;
    tiny) features= ;;
    *)
        printf 'cross: no variant %s: full, no-redeem or tiny\n' "$variant" >&2
        exit 1
        ;;
esac

openwrt/cross/cargo.sh "$target" zigbuild --release -p multicall --no-default-features \
    ${features:+--features "$features"} >&2

from=$(openwrt/cross/cargo.sh "$target" directory)
to=$from/$variant
install -D -m 755 "$from/release/mesh" "$to/mesh"
ln -sf mesh "$to/meshd"
ln -sf mesh "$to/meshctl"
printf '%s\n' "$to"
