//! Values as people read them.

use control_api::{AttoSmt, NodeId, NodeRef, Quality, TunnelKind};

/// The longest name in a table; the first line of `status` fits 80 columns with it.
pub(crate) const NAME_CHARS: usize = 20;

/// For a value that is not known.
pub(crate) const UNKNOWN: &str = "-";

/// The decimals of SMT in a table; `--json` has all 18.
const SMT_DECIMALS: usize = 9;

/// Those in a table that has many columns.
const SHORT_SMT_DECIMALS: usize = 6;

/// Whether a terminal does more with a character than print it: control characters, and those that
/// change the direction of the text or are not to be seen.
pub(crate) fn acts_on_a_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Text that others chose, on one line and without what acts on a terminal.
pub(crate) fn harmless(text: &str) -> String {
    let visible = |character: char| match character {
        space if space.is_whitespace() => Some(' '),
        active if acts_on_a_terminal(active) => None,
        shown => Some(shown),
    };
    text.chars().filter_map(visible).collect()
}

/// Harmless text of at most `limit` characters.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    let clean = harmless(text);
    if clean.chars().count() <= limit {
        return clean;
    }
    clean
        .chars()
        .take(limit.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// A node's name for a column of its own.
pub(crate) fn name(name: Option<&str>) -> String {
    let shown = cut(name.unwrap_or_default().trim(), NAME_CHARS);
    if shown.trim().is_empty() {
        UNKNOWN.to_owned()
    } else {
        shown
    }
}

/// What a tunnel is called.
pub(crate) const fn tunnel(kind: TunnelKind) -> &'static str {
    match kind {
        TunnelKind::Vxlan => "vxlan",
        TunnelKind::Wireguard => "wireguard",
    }
}

/// A node as `name (id)`, or its id alone.
pub(crate) fn node(node: &NodeRef) -> String {
    with_id(node.name.as_deref(), node.originator_id.short())
}

fn with_id(of: Option<&str>, short_id: String) -> String {
    let shown = name(of);
    if shown == UNKNOWN {
        short_id
    } else {
        format!("{shown} ({short_id})")
    }
}

/// A node of which receipts know the public key, as `name (key)`, or the key alone.
pub(crate) fn named(of: Option<&str>, key: NodeId) -> String {
    with_id(of, key.short())
}

/// A node's name within `limit` characters, or its public key.
pub(crate) fn name_or_id(of: Option<&str>, key: NodeId, limit: usize) -> String {
    match name(of) {
        unknown if unknown == UNKNOWN => key.short(),
        known => cut(&known, limit),
    }
}

/// A value, or a dash for none.
pub(crate) fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// Seconds in their two largest units: `3m 20s`, `4d 5h`.
pub(crate) fn seconds(s: u64) -> String {
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m {}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// Milliseconds; from ten seconds on as seconds.
pub(crate) fn milliseconds(ms: u64) -> String {
    if ms < 10_000 {
        format!("{ms}ms")
    } else {
        seconds(ms / 1000)
    }
}

/// The time there and back: `1.23 ms`.
pub(crate) fn round_trip(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}

/// A metric or cost.
pub(crate) fn metric(us: u64) -> String {
    format!("{us}us")
}

/// A share in percent.
pub(crate) fn percent(quality: Quality) -> String {
    format!("{:.0}%", quality.share() * 100.0)
}

/// Bytes with a binary prefix: `52.4 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    scaled(
        bytes,
        1024,
        &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"],
        " ",
    )
}

/// Bytes in at most 7 characters: `52.4M`.
pub(crate) fn short_bytes(bytes: u64) -> String {
    scaled(bytes, 1024, &["B", "K", "M", "G", "T", "P", "E"], "")
}

/// Seconds in their largest unit: `3m`, `4d`.
pub(crate) fn age(s: u64) -> String {
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m", s / 60),
        3600..86_400 => format!("{}h", s / 3600),
        _ => format!("{}d", s / 86_400),
    }
}

/// Bits per second as in the configuration: `20M`.
pub(crate) fn bit_rate(bps: u64) -> String {
    scaled(bps, 1000, &["", "k", "M", "G", "T", "P", "E"], "")
}

/// A signal's strength.
pub(crate) fn signal(dbm: i32) -> String {
    format!("{dbm} dBm")
}

/// A transmit power in hundredths of dBm: `19.5 dBm`.
pub(crate) fn tx_power(mbm: i32) -> String {
    let sign = if mbm < 0 { "-" } else { "" };
    let hundredths = mbm.unsigned_abs();
    let digits = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    let shown = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{sign}{shown} dBm")
}

/// One decimal, but none for what is whole. Rounded down: 1023.99 KiB stays below 1 MiB.
fn scaled(value: u64, step: u64, units: &[&str], space: &str) -> String {
    let mut divisor = 1;
    let mut units = units.iter().copied().peekable();
    let mut unit = units.next().unwrap_or_default();
    while value / divisor >= step
        && let Some(larger) = units.next()
    {
        divisor *= step;
        unit = larger;
    }
    let tenths = u128::from(value) * 10 / u128::from(divisor);
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if tenth == 0 {
        return format!("{whole}{space}{unit}");
    }
    format!("{whole}.{tenth}{space}{unit}")
}

/// SMT, rounded down to [`SMT_DECIMALS`], never to a 0 that is none.
pub(crate) fn smt(amount: AttoSmt) -> String {
    smt_with(amount, SMT_DECIMALS)
}

/// SMT with fewer decimals, for a narrow column.
pub(crate) fn short_smt(amount: AttoSmt) -> String {
    smt_with(amount, SHORT_SMT_DECIMALS)
}

fn smt_with(amount: AttoSmt, decimals: usize) -> String {
    let digits = format!("{:019}", amount.atto());
    let (whole, fraction) = digits.split_at(digits.len() - 18);
    let (shown, rest) = fraction.split_at(decimals);
    let shown = shown.trim_end_matches('0');
    if !shown.is_empty() {
        return format!("{whole}.{shown}");
    }
    if whole == "0" && rest.contains(|digit| digit != '0') {
        return format!("<0.{:0>decimals$}", 1);
    }
    whole.to_owned()
}

/// Breaks text into lines of at most `width` characters, between words where it can.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in harmless(text).split_whitespace() {
        let room = width.saturating_sub(line.chars().count() + 1);
        if !line.is_empty() && word.chars().count() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        while line.chars().count() > width {
            let rest = line.chars().skip(width).collect();
            lines.push(line.chars().take(width).collect());
            line = rest;
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (200, "3m 20s"),
            (3600, "1h 0m"),
            (86_399, "23h 59m"),
            (86_400, "1d 0h"),
            (450_000, "5d 5h"),
        ];
        for (s, text) in cases {
            assert_eq!(seconds(s), text);
        }
        assert_eq!(milliseconds(9_999), "9999ms");
        assert_eq!(milliseconds(10_000), "10s");
    }

    #[test]
    fn bytes_and_rates_have_one_decimal() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_048_576, "1 MiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bit_rate(20_000_000), "20M");
        assert_eq!(bit_rate(1_500_000), "1.5M");
        assert_eq!(bit_rate(999), "999");
    }

    #[test]
    fn narrow_columns_have_short_values() {
        let shown = [0, 1023, 1_048_575, 54_945_382, u64::MAX].map(short_bytes);
        assert_eq!(shown, ["0B", "1023B", "1023.9K", "52.3M", "15.9E"]);
        let shown = [0, 59, 60, 7199, 7200, 86_399, 86_400].map(age);
        assert_eq!(shown, ["0s", "59s", "1m", "1h", "2h", "23h", "1d"]);
        let shown = [0, 1, 1_234_567_890_123_456].map(|atto| short_smt(AttoSmt::new(atto)));
        assert_eq!(shown, ["0", "<0.000001", "0.001234"]);
    }

    #[test]
    fn powers_have_the_decimals_they_need() {
        let cases = [
            (2000, "20 dBm"),
            (1950, "19.5 dBm"),
            (1905, "19.05 dBm"),
            (0, "0 dBm"),
            (-50, "-0.5 dBm"),
            (i32::MIN, "-21474836.48 dBm"),
        ];
        for (mbm, text) in cases {
            assert_eq!(tx_power(mbm), text);
        }
    }

    #[test]
    fn smt_is_rounded_down_but_never_to_nothing() {
        let cases = [
            (0, "0"),
            (1, "<0.000000001"),
            (1_000_000_000, "0.000000001"),
            (1_999_999_999, "0.000000001"),
            (1_611_000_000_000_000_000, "1.611"),
            (2_000_000_000_000_000_001, "2"),
            (u128::MAX, "340282366920938463463.374607431"),
        ];
        for (atto, text) in cases {
            assert_eq!(smt(AttoSmt::new(atto)), text);
        }
    }

    #[test]
    fn a_name_cannot_act_on_the_terminal() {
        assert_eq!(name(Some("a\u{1b}[31mb\n\u{9b}\u{202e}c\r\n")), "a[31mb c");
        assert_eq!(name(Some("\u{1b}\u{200b} ")), "-");
        assert_eq!(name(None), "-");
        assert_eq!(name(Some(&"ü".repeat(20))), "ü".repeat(20));
        assert_eq!(name(Some(&"ü".repeat(21))), "ü".repeat(19) + "…");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("one abcdefgh", 4), ["one", "abcd", "efgh"]);
        assert_eq!(wrap("a\u{1b}b\nc", 80), ["ab c"]);
        assert_eq!(wrap("", 80), [""]);
    }
}
