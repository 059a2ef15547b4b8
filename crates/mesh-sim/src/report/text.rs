//! Reports as tables.

use std::fmt;

use super::{
    Check, Control, Cost, Kind, Loop, Loops, Outages, Pairs, PathCost, PhaseFigures, Report, Seeds,
    UnroutedPair,
};

/// Of more phases than this, the first are shown; JSON has all.
const PHASES_SHOWN: usize = 40;

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "{name:<20} {value}")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_run(f)?;
        self.fmt_figures(f)?;
        fmt_kinds(f, &self.outages)?;
        self.fmt_phases(f)
    }
}

impl Report {
    fn fmt_run(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topology = format!(
            "{}, {} nodes, {} links",
            self.topology, self.nodes, self.links
        );
        row(f, "topology", topology)?;
        let links = format!("loss {} %, delay {} ms", self.loss_percent, self.delay_ms);
        row(f, "links", links)?;
        if let Some(scenario) = &self.scenario {
            row(f, "scenario", format!("{scenario}, {} flows", self.flows))?;
        }
        row(f, "virtual time", format!("{} s", self.duration_s))?;
        row(f, "seed", self.seed)?;
        row(f, "trace hash", &self.trace_hash)?;
        row(f, "events", self.events)?;
        match self.cost {
            Some(cost) => row(f, "machine", cost),
            None => Ok(()),
        }
    }

    fn fmt_figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "pairs", &self.pairs)?;
        row(f, "cold start", format!("{} s", seconds(self.cold_start_s)))?;
        if let Some(path_cost) = self.path_cost {
            row(f, "path cost / shortest", path_cost)?;
        }
        row(f, "control", self.control)?;
        row(f, "control, last half", self.control_steady)?;
        let switches = self.switches_per_node_hour;
        row(
            f,
            "route changes",
            format!(
                "{}; {switches:.2} switches per node and hour, last half",
                self.route_changes
            ),
        )?;
        let without_cause = self.neighbor_drops_without_cause;
        row(
            f,
            "neighbors given up",
            format!("{}, without cause {without_cause}", self.neighbor_drops),
        )?;
        row(f, "loops", &self.loops)?;
        if self.refused_changes + self.busy_timers > 0 {
            row(f, "refused changes", self.refused_changes)?;
            row(f, "busy timers", self.busy_timers)?;
        }
        Ok(())
    }

    fn fmt_phases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gateways = self.phases.iter().any(|p| p.online_after_s.is_some());
        let last = |text: &str| match gateways {
            true => format!(" {text:>12}"),
            false => String::new(),
        };
        writeln!(
            f,
            "\n{:>8}  {:<28} {:>12} {:>9} {:>16} {:>14}{}",
            "at s",
            "phase",
            "routed in s",
            "relapses",
            "unrouted pair-s",
            "route changes",
            last("online in s")
        )?;
        for phase in self.phases.iter().take(PHASES_SHOWN) {
            writeln!(f, "{phase}{}", last(&seconds(phase.online_after_s)))?;
            if let Some(check) = phase.check {
                writeln!(f, "{:>8}  {check}", "")?;
            }
        }
        match self.phases.len().saturating_sub(PHASES_SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "{:>8}  and {more} more", ""),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (routed, delivered) = (self.routed_percent, self.delivered_percent);
        let after = self.after_s;
        write!(
            f,
            "{after:.0} s later: {routed:.3} % routed, {delivered:.3} % delivered"
        )
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "runs", self.runs)?;
        row(f, "events", self.events)?;
        row(f, "loops", &self.loops)?;
        let bad = match self.bad.is_empty() {
            true => "all".to_owned(),
            false => format!("all but seeds {:?}", self.bad),
        };
        row(f, "routed, no loop", bad)?;
        row(
            f,
            "longest cold start",
            format!("{} s", seconds(self.longest_cold_start_s)),
        )?;
        let without_cause = self.neighbor_drops_without_cause;
        row(
            f,
            "neighbors given up",
            format!("without cause {without_cause}"),
        )?;
        if let Some(cost) = self.cost {
            row(f, "machine", cost)?;
        }
        fmt_kinds(f, &self.outages)?;
        writeln!(
            f,
            "\n{:>8} {:>16}  {:>12} {:>9} {:>6} {:>9}",
            "seed", "trace hash", "cold start s", "events", "loops", "unrouted"
        )?;
        for run in &self.each {
            writeln!(
                f,
                "{:>8} {:>16}  {:>12} {:>9} {:>6} {:>9}",
                run.seed,
                run.trace_hash,
                seconds(run.cold_start_s),
                run.events,
                run.loops.seen,
                run.pairs.unrouted
            )?;
        }
        Ok(())
    }
}

/// How long outages lasted, for each kind of step.
fn fmt_kinds(f: &mut fmt::Formatter<'_>, kinds: &[Kind]) -> fmt::Result {
    writeln!(
        f,
        "\n{:<12} {:>5} {:>9}  {:<8} {:>9} {:>6} {:>8} {:>8} {:>8} {:>8}",
        "outages after",
        "steps",
        "recovered",
        "of",
        "count",
        "open",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "max ms"
    )?;
    for kind in kinds {
        let all = [
            ("pairs", &kind.pairs),
            ("flows", &kind.flows),
            ("uplinks", &kind.uplinks),
        ];
        for (i, (of, outages)) in all.into_iter().enumerate() {
            if i == 0 {
                let Kind {
                    kind,
                    steps,
                    recovered,
                    ..
                } = kind;
                write!(f, "{kind:<13} {steps:>5} {recovered:>9}  ")?;
            } else if outages.count > 0 {
                write!(f, "{:<13} {:>5} {:>9}  ", "", "", "")?;
            } else {
                continue;
            }
            writeln!(f, "{of:<8} {outages}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Outages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9} {:>6}", self.count, self.open)?;
        for ms in [self.p50_ms, self.p90_ms, self.p99_ms, self.max_ms] {
            let ms = ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
            write!(f, " {ms:>8}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PhaseFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.2}  {:<28} {:>12} {:>9} {:>16.1} {:>14}",
            self.at_s,
            self.label,
            seconds(self.routed_after_s),
            self.relapses,
            self.unrouted_pair_s,
            self.route_changes
        )
    }
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "never".to_owned(), |s| format!("{s:.3}"))
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (possible, unrouted) = (self.possible, self.unrouted);
        write!(f, "{possible} possible, {unrouted} unrouted at the end")?;
        for UnroutedPair { from, to, path } in &self.first {
            write!(f, "\n{:<20} {from} to {to}: {} ends", "", path.join(" → "))?;
        }
        Ok(())
    }
}

impl fmt::Display for PathCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mean {:.3}, p99 {:.3}, worst {:.3}",
            self.mean_ratio, self.p99_ratio, self.worst_ratio
        )
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} B/s ({:.0} with headers) in {:.1} packets/s per node; most {:.0} ({:.0}) in \
             {:.1}; unicast {:.0} B/s",
            self.bytes_per_node_s,
            self.bytes_with_headers_per_node_s,
            self.packets_per_node_s,
            self.bytes_max_node_s,
            self.bytes_with_headers_max_node_s,
            self.packets_max_node_s,
            self.unicast_bytes_per_node_s
        )
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s, {:.0} events/s", self.wall_s, self.events_per_s)?;
        match self.peak_rss_mib {
            Some(mib) => write!(f, ", peak memory {mib:.0} MiB"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Loops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, for contested prefixes {}",
            self.seen, self.contested
        )?;
        for one in &self.first {
            write!(f, "\n{:<20} {one}", "")?;
        }
        Ok(())
    }
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            at_s,
            destination,
            cycle,
        } = self;
        let first = cycle.first().map_or("", String::as_str);
        let path = cycle.join(" → ");
        write!(
            f,
            "seed {seed}, {at_s:.3} s, to {destination}: {path} → {first}"
        )
    }
}
