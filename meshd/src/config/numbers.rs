//! `numbers`: where our ranges of the kernel's numbers begin.

use super::Fault;
use super::fields::{Fields, Value};
use super::values::whole_number;
use crate::config::document::Node;
use crate::kernel::Numbers;

const KEYS: &[&str] = &["tables", "rules", "last_rule", "mark_bit"];

/// The priority of the rule that asks the main table.
const MAIN_RULE: u32 = 32766;
/// The last priority that a machine has by itself: that of the rule that asks the default table.
const DEFAULT_RULE: u32 = 32767;
/// Numbers that the kernel gives to its own tables: none, default, main, local.
const KERNELS_TABLES: [u32; 4] = [0, 253, 254, 255];

/// The first of the tables.
struct Tables(u32);
/// The first of the priorities.
struct Rules(u32);
/// The last of them.
struct LastRule(u32);
/// The lowest bit of marks.
struct MarkBit(u32);

fn number(text: &str, is_right: impl Fn(u32) -> bool) -> Result<u32, String> {
    let number = whole_number(text).and_then(|it| u32::try_from(it).ok());
    let right = number.filter(|it| is_right(*it));
    right.ok_or_else(|| format!("is {}", super::error::quoted(text)))
}

impl Value for Tables {
    const ALLOWED: &'static str =
        "a number from 1 to 4294967274, with none of 253, 254 and 255 among it and the 20 after it";

    fn from_text(text: &str) -> Result<Self, String> {
        let ends = |first: u32| first.checked_add(Numbers::TABLES);
        let is_free = |first| {
            ends(first)
                .is_some_and(|end| !KERNELS_TABLES.iter().any(|it| (first..end).contains(it)))
        };
        number(text, is_free).map(Self)
    }
}

impl Value for Rules {
    const ALLOWED: &'static str = "a number from 1 to 32465";

    fn from_text(text: &str) -> Result<Self, String> {
        number(text, |first| {
            (1..=MAIN_RULE - Numbers::RULES).contains(&first)
        })
        .map(Self)
    }
}

impl Value for LastRule {
    const ALLOWED: &'static str = "a number from 32768 to 4294967295";

    fn from_text(text: &str) -> Result<Self, String> {
        number(text, |it| it > DEFAULT_RULE).map(Self)
    }
}

impl Value for MarkBit {
    const ALLOWED: &'static str = "a number from 0 to 28";

    fn from_text(text: &str) -> Result<Self, String> {
        number(text, |it| it <= u32::BITS - Numbers::MARK_BITS).map(Self)
    }
}

pub(super) fn read(root: &Fields<'_>) -> Result<Numbers, Fault> {
    let node = root.node("numbers").unwrap_or(&Node::Null);
    let fields = Fields::of(node, root.path_of("numbers"), KEYS)?;
    let usual = Numbers::default();
    Ok(Numbers {
        tables: fields
            .optional("tables")?
            .map_or(usual.tables, |Tables(it)| it),
        rules: fields
            .optional("rules")?
            .map_or(usual.rules, |Rules(it)| it),
        last_rule: fields
            .optional("last_rule")?
            .map_or(usual.last_rule, |LastRule(it)| it),
        mark_bit: fields
            .optional("mark_bit")?
            .map_or(usual.mark_bit, |MarkBit(it)| it),
    })
}
