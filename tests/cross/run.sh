#!/usr/bin/env bash
# Runs what is built for another processor, by emulating it: golden vectors of the codecs, signatures, logs of
# receipts that one machine writes and another reads, the configuration, the versions.
#
# usage: tests/cross/run.sh [TARGET...]
#
# Without targets mips, which is the odd one out: 32 bits, big endian.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

[ $# -gt 0 ] || set -- mips

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() {
    printf 'cross: %s: %s\n' "$target" "$*"
}

fail() {
    printf 'cross: %s: FAILED: %s\n' "$target" "$*" >&2
    exit 1
}

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

# emulated PROGRAM ARGUMENT...
emulated() {
    local program=$1
    shift
    "${emulator[@]}" "$programs/$program" "$@"
}

choose_emulator() {
    case $target in
        mips | mipsel) emulator=("qemu-$target-static" -cpu 24Kc) ;;
        armv7) emulator=(qemu-arm-static) ;;
        *) emulator=("qemu-$target-static") ;;
    esac
}

versions() {
    local name
    for name in meshd meshctl; do
        [ "$(emulated "$name" --version)" = "$name $version" ] || fail "$name --version"
    done
    emulated mesh meshctl --version >/dev/null || fail "mesh meshctl --version"
}

# In a network namespace with the devices that it names.
with_devices() {
    local user=()
    [ "$(id -u)" -eq 0 ] || user=(--map-root-user)
    unshare "${user[@]}" --net sh -c '
        ip link add mesh0 type veth && ip link add br-lan type veth && exec "$@"' sh "$@"
}

configuration() {
    local said check status=0
    cat >"$work/meshd.yaml" <<-YAML
		network: village
		mesh: [{interface: mesh0}]
		lan: [{interface: br-lan, mode: routed, prefixes: [10.1.2.0/24, "fd12:3456:789a:1::/64"]}]
		gateways: {maximum_price: 340282366920938463463374607431768211455}
		sharing: {fee: 1000, credit: 1GiB}
		identity: $work/identity.key
		state: $work
		control: $work/control.sock
	YAML
    check=("${emulator[@]}" "$programs/meshd" --check --config "$work/meshd.yaml")
    with_devices "${check[@]}" ||
        fail "a configuration that is right is not accepted"
    sed -i 's/1GiB/much/' "$work/meshd.yaml"
    said=$(with_devices "${check[@]}" 2>&1) || status=$?
    [ "$status" -eq 2 ] || fail "exit status $status for a configuration that is wrong: $said"
    grep -q 'sharing.credit' <<<"$said" || fail "what is wrong is not named: $said"
}

# The tests say themselves what is golden.
vectors() {
    openwrt/cross/cargo.sh "$target" test --quiet -p mesh-proto --lib -- golden
    WRITE_LOG="$work/$target.log" openwrt/cross/cargo.sh "$target" test --quiet -p receipts --test vectors --test one_log
    WRITE_LOG="$work/here.log" cargo test --quiet --locked -p receipts --test one_log
}

logs() {
    local mine
    mine=${CARGO_TARGET_DIR:-target}/debug/meshctl
    cmp "$work/$target.log" "$work/here.log" || fail "the same receipts make another log"
    "$mine" receipts verify "$work/$target.log" || fail "its log cannot be read here"
    emulated meshctl receipts verify "$work/here.log" || fail "it cannot read a log of here"
    # One bit, in a signature.
    printf '\001' | dd of="$work/here.log" bs=1 seek=300 conv=notrunc status=none
    ! emulated meshctl receipts verify "$work/here.log" 2>/dev/null || fail "it takes a log that was changed"
}

cargo build --quiet --locked -p meshctl
for target; do
    choose_emulator
    step building
    programs=$(openwrt/cross/build.sh "$target" tiny)
    step versions
    versions
    step configuration
    configuration
    step "vectors, signatures, logs"
    vectors
    logs
done
printf 'cross: everything passed\n'
