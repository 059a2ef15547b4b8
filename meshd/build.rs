//! Linker options of the daemon.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |key| std::env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    // Relative relocations take 24 bytes each otherwise, of memory as well: they are read at every
    // start. Only where the linker and the C library of Debian 12 know the packed form.
    if target("ENV") == "gnu" && target("ARCH") == "x86_64" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
