//! Linker options of the daemon, and the status page as one file.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    link();
    #[cfg(feature = "status-page")]
    status_page::build();
}

fn link() {
    let target = |key| env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    // Relative relocations take 24 bytes each otherwise, of memory as well: they are read at every
    // start. Only where the linker and the C library of Debian 12 know the packed form.
    if target("ENV") == "gnu" && target("ARCH") == "x86_64" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// `page.html` with `style.css` and `script.js` in it, as it is and compressed, and the policy that allows these
/// two and nothing else.
#[cfg(feature = "status-page")]
mod status_page {
    #![allow(clippy::expect_used, reason = "a build fails by panicking")]

    use std::io::Write as _;
    use std::path::Path;
    use std::{env, fs};

    use flate2::{Compression, GzBuilder};
    use sha2::{Digest as _, Sha256};

    pub(super) fn build() {
        let from =
            Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo says")).join("status-page");
        let to = env::var_os("OUT_DIR").expect("cargo says");
        let read = |name: &str| {
            println!("cargo::rerun-if-changed=status-page/{name}");
            fs::read_to_string(from.join(name)).expect("a part of the status page")
        };
        let write = |name: &str, bytes: &[u8]| {
            fs::write(Path::new(&to).join(name), bytes).expect("OUT_DIR can be written");
        };
        let (style, script) = (dense(&read("style.css")), dense(&read("script.js")));
        let page = dense(&read("page.html"))
            .replace("STYLE", &style)
            .replace("SCRIPT", &script);
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(&script),
            hash(&style)
        );
        write("status-page.html", page.as_bytes());
        write("status-page.html.gz", &packed(page.as_bytes()));
        write("status-page.policy", policy.as_bytes());
    }

    /// Without what is there for who reads the source: indentation, blank lines, comments that have a line to
    /// themselves.
    fn dense(text: &str) -> String {
        let is_comment = |line: &&str| {
            line.is_empty()
                || line.starts_with("//")
                || line.starts_with("/*") && line.ends_with("*/")
                || line.starts_with("<!--") && line.ends_with("-->")
        };
        let lines = text.lines().map(str::trim).filter(|line| !is_comment(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Without a time, so that the same sources give the same program.
    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzBuilder::new().write(Vec::new(), Compression::best());
        packer.write_all(bytes).expect("memory takes everything");
        packer.finish().expect("memory takes everything")
    }

    /// As a policy names a text (CSP 3, section 2.3.1).
    fn hash(text: &str) -> String {
        format!("sha256-{}", base64(&Sha256::digest(text.as_bytes())))
    }

    /// RFC 4648, section 4.
    fn base64(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digits = |chunk: &[u8]| {
            let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            let digit = |at: usize| {
                let digit = usize::try_from(bits >> (18 - 6 * at) & 63).expect("six bits");
                char::from(*ALPHABET.get(digit).expect("six bits"))
            };
            let digits = (0..4).map(|at| if at <= chunk.len() { digit(at) } else { '=' });
            digits.collect::<String>()
        };
        bytes.chunks(3).map(digits).collect()
    }
}
