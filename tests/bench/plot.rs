//! Drawings of a report, as SVG that is read on light and on dark paper and without colours:
//! every daemon has a dash pattern and its name beside its line.

use std::fmt::Write as _;

use crate::report::{Figure, Report};

// Grey text is read on both; who tells which paper it is gets more contrast.
const STYLE: &str = "<style>\
    text{font:12px sans-serif;fill:#757575}.title{font-size:14px;font-weight:bold}\
    .axis{stroke:#666;stroke-width:1}.grid{stroke:#9996;stroke-width:.5}\
    .line{fill:none;stroke-width:2}\
    @media (prefers-color-scheme:light){text{fill:#222}}@media (prefers-color-scheme:dark){text{fill:#ddd}.axis{stroke:#aaa}}</style>\n";

/// Daemon, colour of middle brightness, dashes.
const LOOKS: [(&str, &str, &str); 5] = [
    ("meshd", "#d9480f", ""),
    ("babeld", "#1c7ed6", "8 4"),
    ("babeld-wireless", "#2b8a9e", "2 3"),
    ("babeld-fast", "#7950f2", "12 3 2 3"),
    ("batmand", "#5c940d", "5 2"),
];

fn look(daemon: &str) -> (&'static str, &'static str) {
    let found = LOOKS.iter().find(|(name, _, _)| *name == daemon);
    found.map_or(("#888", ""), |(_, colour, dashes)| (colour, dashes))
}

/// The part of a panel that holds its lines, in pixels.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 60.0;
/// Times on the axis of outages: 10 ms to the bound.
const DECADES: [f64; 5] = [10.0, 100.0, 1_000.0, 10_000.0, 30_000.0];

/// The share of cut links that were healed after a time, one panel for each loss.
pub(crate) fn outages(report: &Report) -> String {
    let mut losses: Vec<u32> = report.figures.iter().map(|f| f.loss_percent).collect();
    losses.sort_unstable();
    losses.dedup();
    losses.retain(|loss| report.figures.iter().any(|f| is_cut(f, *loss)));
    let panel = HEIGHT + 90.0;
    let count = f64::from(u32::try_from(losses.len()).unwrap_or(1));
    let mut svg = open(LEFT + WIDTH + 230.0, count.max(1.0) * panel);
    let mut top = 40.0;
    for loss in losses {
        outage_panel(&mut svg, report, loss, top);
        top += panel;
    }
    svg.push_str("</svg>\n");
    svg
}

fn is_cut(figure: &Figure, loss: u32) -> bool {
    figure.measure == "cut" && figure.loss_percent == loss && !figure.samples.is_empty()
}

fn outage_panel(svg: &mut String, report: &Report, loss: u32, top: f64) {
    let title = format!("Outage after a silent link cut, {loss} % broadcast loss");
    text(svg, "title", "start", (LEFT, top - 14.0), &title);
    for ms in DECADES {
        let label = if ms < 1_000.0 {
            format!("{ms} ms")
        } else {
            format!("{} s", ms / 1e3)
        };
        let x = time_x(ms);
        segment(svg, "grid", (x, top), (x, top + HEIGHT));
        text(svg, "", "middle", (x, top + HEIGHT + 16.0), &label);
    }
    for percent in [0.0, 50.0, 90.0, 100.0] {
        let y = top + HEIGHT * (1.0 - percent / 100.0);
        segment(svg, "grid", (LEFT, y), (LEFT + WIDTH, y));
        text(
            svg,
            "",
            "end",
            (LEFT - 6.0, y + 4.0),
            &format!("{percent} %"),
        );
    }
    segment(
        svg,
        "axis",
        (LEFT, top + HEIGHT),
        (LEFT + WIDTH, top + HEIGHT),
    );
    let caption = "silence until answers came again, logarithmic; height: share of the cuts";
    text(svg, "", "start", (LEFT, top + HEIGHT + 34.0), caption);
    let mut row = 0;
    for (daemon, _, _) in LOOKS {
        let mine = report
            .figures
            .iter()
            .filter(|f| is_cut(f, loss) && f.daemon == daemon);
        let samples: Vec<Option<f64>> = mine.flat_map(|f| f.samples.clone()).collect();
        if !samples.is_empty() {
            steps(svg, daemon, &samples, top, row);
            row += 1;
        }
    }
}

/// A line that climbs by one step with every cut that is healed.
fn steps(svg: &mut String, daemon: &str, samples: &[Option<f64>], top: f64, row: u8) {
    let mut healed: Vec<f64> = samples.iter().flatten().copied().collect();
    healed.sort_by(f64::total_cmp);
    let count = f64::from(u32::try_from(samples.len()).unwrap_or(1));
    let (mut y, mut done) = (top + HEIGHT, 0.0);
    let mut path = format!("M{LEFT:.1} {y:.1}");
    for ms in &healed {
        done += 1.0;
        let x = time_x(*ms);
        let _ = write!(path, "H{x:.1}");
        y = top + HEIGHT * (1.0 - done / count);
        let _ = write!(path, "V{y:.1}");
    }
    let end = LEFT + WIDTH;
    let _ = write!(path, "H{end:.1}");
    let (colour, dashes) = look(daemon);
    let _ = writeln!(
        svg,
        "<path class=\"line\" d=\"{path}\" stroke=\"{colour}\" stroke-dasharray=\"{dashes}\"/>"
    );
    let at = top + 12.0 + 18.0 * f64::from(row);
    let _ = writeln!(
        svg,
        "<path class=\"line\" d=\"M{:.1} {:.1}h26\" stroke=\"{colour}\" stroke-dasharray=\"{dashes}\"/>",
        end + 8.0,
        at - 4.0
    );
    let half = samples.len().div_ceil(2).saturating_sub(1);
    let half = healed
        .get(half)
        .map_or_else(|| "none".to_owned(), |ms| format!("{:.2} s", ms / 1e3));
    text(
        svg,
        "",
        "start",
        (end + 40.0, at),
        &format!("{daemon}, p50 {half}"),
    );
}

fn time_x(ms: f64) -> f64 {
    let (least, most) = (DECADES[0].ln(), DECADES[4].ln());
    LEFT + WIDTH * ((ms.max(1.0).ln() - least) / (most - least)).clamp(0.0, 1.0)
}

/// What an idle router costs, one group of bars for each figure.
pub(crate) fn idle(report: &Report) -> String {
    let groups = [
        ("idle bytes", "Sent per router, idle: bytes a second (mean)"),
        (
            "idle cpu",
            "Processor time of the daemon: ms a second (mean)",
        ),
        ("idle rss", "Memory of the daemon: MiB resident (mean)"),
    ];
    let group = 30.0 + 24.0 * 5.0 + 20.0;
    let mut svg = open(LEFT + WIDTH + 150.0, 3.0 * group + 10.0);
    let mut top = 24.0;
    for (measure, title) in groups {
        bars(&mut svg, report, measure, title, top);
        top += group;
    }
    svg.push_str("</svg>\n");
    svg
}

fn bars(svg: &mut String, report: &Report, measure: &str, title: &str, top: f64) {
    let figures = report
        .figures
        .iter()
        .filter(|f| f.measure == measure && f.loss_percent == 0);
    let values: Vec<(&str, &str, f64)> = figures
        .filter_map(|f| Some((f.daemon.as_str(), f.topology.as_str(), f.mean()?)))
        .collect();
    let most = values
        .iter()
        .map(|(_, _, value)| *value)
        .fold(f64::MIN_POSITIVE, f64::max);
    let place = values
        .first()
        .map_or("not measured", |(_, topology, _)| topology);
    text(
        svg,
        "title",
        "start",
        (LEFT, top),
        &format!("{title}, {place}"),
    );
    let mut y = top + 12.0;
    let names = LEFT + 100.0;
    for (daemon, colour, _) in LOOKS {
        let Some((_, _, value)) = values.iter().find(|(name, _, _)| *name == daemon) else {
            continue;
        };
        let width = (WIDTH - 100.0) * value / most;
        text(svg, "", "end", (names - 6.0, y + 13.0), daemon);
        let _ = writeln!(
            svg,
            "<rect x=\"{names:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"16\" fill=\"{colour}\"/>"
        );
        let shown = if *value < 10.0 {
            format!("{value:.2}")
        } else {
            format!("{value:.0}")
        };
        text(svg, "", "start", (names + width + 6.0, y + 13.0), &shown);
        y += 24.0;
    }
}

fn open(width: f64, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n{STYLE}"
    )
}

fn text(svg: &mut String, class: &str, anchor: &str, (x, y): (f64, f64), words: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

fn segment(svg: &mut String, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;

    #[test]
    fn the_axis_is_logarithmic_and_bounded() {
        assert!((time_x(10.0) - LEFT).abs() < 1e-9);
        assert!((time_x(1e9) - LEFT - WIDTH).abs() < 1e-9);
        assert!((time_x(1_000.0) - time_x(100.0) - (time_x(100.0) - time_x(10.0))).abs() < 1e-9);
    }

    #[test]
    fn a_cut_that_never_healed_keeps_its_line_from_the_top() {
        let mut figure = Figure::of("cut", Kind::Meshd, "grid:3x3", 0, "ms");
        figure.samples = vec![Some(100.0), None];
        let mut svg = String::new();
        steps(&mut svg, "meshd", &figure.samples, 0.0, 0);
        let middle = format!("V{:.1}H{:.1}\"", HEIGHT / 2.0, LEFT + WIDTH);
        assert!(svg.contains(&middle), "{svg}");
    }
}
