//! `meshctl receipts stats`

use control_api::{AttoSmt, Stats, StatsHour};

use crate::bars::bars;
use crate::commands::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::Output;
use crate::tsv::Layout;

/// The width of a plot; with a margin it fits 80 columns.
const PLOT_COLUMNS: usize = 72;
/// The height of one.
const PLOT_LINES: usize = 3;
/// The widest bar.
const BAR_COLUMNS: usize = 3;
/// Left of the plots.
const MARGIN: &str = "  ";

const LAYOUT: Layout = Layout {
    list: "hours",
    columns: &[
        "hours_ago",
        "carried_bytes",
        "consumed_bytes",
        "earned_atto",
        "paid_atto",
    ],
};

pub(in crate::commands) fn run(daemon: &Daemon, output: Output, days: u8) -> Result<(), Failure> {
    let mut stats = daemon.connect()?.receipts_stats()?;
    stats.hours.truncate(usize::from(days) * 24);
    output.show_list(&stats, LAYOUT, text)
}

/// Something that is plotted.
struct Series {
    title: &'static str,
    of: fn(&StatsHour) -> u128,
    show: fn(u128) -> String,
}

const SERIES: [Series; 4] = [
    Series {
        title: "Carried for others",
        of: |hour| hour.carried_bytes.into(),
        show: bytes,
    },
    Series {
        title: "Carried for this node",
        of: |hour| hour.consumed_bytes.into(),
        show: bytes,
    },
    Series {
        title: "Earned",
        of: |hour| hour.earned_atto.atto(),
        show: smt,
    },
    Series {
        title: "Paid",
        of: |hour| hour.paid_atto.atto(),
        show: smt,
    },
];

fn bytes(count: u128) -> String {
    format::bytes(u64::try_from(count).unwrap_or(u64::MAX))
}

fn smt(atto: u128) -> String {
    format!("{} SMT", format::smt(AttoSmt::new(atto)))
}

fn text(stats: &Stats) -> String {
    let hours = stats.hours.len();
    let hours_each = hours.div_ceil(PLOT_COLUMNS).max(1);
    let mut text = String::new();
    for series in &SERIES {
        text.push_str(&plot(series, &stats.hours, hours_each));
        text.push('\n');
    }
    let columns = hours.div_ceil(hours_each).max(1) * bar_columns(hours, hours_each);
    text.push_str(&axis(hours, columns));
    text
}

/// How wide each bar can be.
fn bar_columns(hours: usize, hours_each: usize) -> usize {
    let count = hours.div_ceil(hours_each).max(1);
    (PLOT_COLUMNS / count).clamp(1, BAR_COLUMNS)
}

fn plot(series: &Series, hours: &[StatsHour], hours_each: usize) -> String {
    // The newest come first, and stand at the right.
    let each = hours.chunks(hours_each).rev();
    let values: Vec<u128> = each.map(|part| sum(part.iter().map(series.of))).collect();
    let total = sum(values.iter().copied());
    if total == 0 {
        return format!("{}: nothing\n", series.title);
    }
    let highest = values.iter().copied().max().unwrap_or(0);
    let unit = match hours_each {
        1 => "an hour".to_owned(),
        more => format!("{more} hours"),
    };
    let (total, highest) = ((series.show)(total), (series.show)(highest));
    let mut text = format!("{}: {total}, at most {highest} in {unit}\n", series.title);
    for line in bars(&values, PLOT_LINES, bar_columns(hours.len(), hours_each)) {
        text.push_str(format!("{MARGIN}{line}").trim_end());
        text.push('\n');
    }
    text
}

fn sum(values: impl Iterator<Item = u128>) -> u128 {
    values.fold(0, u128::saturating_add)
}

/// When the plots begin and end.
fn axis(hours: usize, columns: usize) -> String {
    let begin = match hours {
        0 | 1 => "within the last hour".to_owned(),
        2..48 => format!("{hours} hours ago"),
        _ => format!("{} days ago", hours / 24),
    };
    let room = columns.saturating_sub(begin.chars().count() + 1);
    format!("{MARGIN}{begin} {:>room$}\n", "now")
}
