//! Whatever the text is: a configuration, or one line.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn any_bytes_give_a_configuration_or_one_line(
        bytes in proptest::collection::vec(any::<u8>(), 0..300)
    ) {
        check_anything(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn anything_like_yaml_gives_a_configuration_or_one_line(
        parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..60)
    ) {
        check_anything(&parts.concat());
        check_anything(&format!("{MINIMAL}{}", parts.concat()));
    }

    #[test]
    fn a_damaged_example_gives_a_configuration_or_one_line(
        at in 0..EXAMPLE.len(), byte in 0_u8..0x80, cut in any::<bool>()
    ) {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        bytes[at] = byte;
        bytes.truncate(if cut { at + 1 } else { bytes.len() });
        check_anything(&String::from_utf8(bytes).unwrap());
    }
}

const PARTS: &[&str] = &[
    "\n",
    "\n  ",
    "\n    ",
    " ",
    "\t",
    "- ",
    "-",
    ": ",
    ":",
    "? ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&a ",
    "*a",
    "!t ",
    "!!int ",
    "!",
    "'",
    "\"",
    "\\",
    "|\n",
    ">\n",
    "#",
    "%",
    "@",
    "---\n",
    "...\n",
    "network",
    "mesh",
    "lan",
    "interface",
    "prefixes",
    "uplink",
    "1",
    "0x1",
    "~",
    "null",
    "<<",
    "10.0.0.0/8",
    "\r\n",
    "\u{feff}",
    "\u{85}",
    "é",
];

fn check_anything(text: &str) {
    if let Err(error) = parse(text) {
        let shown = error.to_string();
        assert!(shown.starts_with("m.yaml:"), "{shown}");
        assert!(!shown.contains(|c: char| c.is_control()), "{shown:?}");
        assert!(shown.contains("; allowed: "), "{shown}");
        let ConfigError::Value { line, .. } = error else {
            panic!("{shown}")
        };
        assert!(
            (1..=text.lines().count().max(1)).contains(&line),
            "{shown} in {text:?}"
        );
    }
}
