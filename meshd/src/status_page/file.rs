//! The page itself, one file, made of `meshd/status-page` by `build.rs`.

/// Compressed with gzip.
pub(super) const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/status-page.html.gz"));

/// As it is, for who does not take it compressed: less than a program that expands it.
pub(super) const PLAIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/status-page.html"));

/// What browsers may do with it: run its one script and its one style, which the hashes name, and ask this node.
pub(super) const POLICY: &str = include_str!(concat!(env!("OUT_DIR"), "/status-page.policy"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_asks_nobody_else() {
        assert!(PACKED.len() <= 40 * 1024, "{} bytes", PACKED.len());
        let page = std::str::from_utf8(PLAIN).unwrap();
        // The namespace of SVG is a name, not a place.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        for other in ["http:", "https:", "//cdn", "@import", "url(", "src="] {
            assert!(!page.contains(other), "{other}");
        }
        for unsafe_way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!page.contains(unsafe_way), "{unsafe_way}");
        }
    }

    #[test]
    fn the_policy_allows_its_own_script_and_style_only() {
        assert!(POLICY.starts_with("default-src 'none'; "));
        assert!(POLICY.contains("; script-src 'sha256-"));
        assert!(POLICY.contains("; style-src 'sha256-"));
        assert!(POLICY.contains("; frame-ancestors 'none'"));
        assert!(!POLICY.contains("unsafe"));
    }
}
