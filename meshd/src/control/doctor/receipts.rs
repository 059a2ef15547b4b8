//! Whether receipts are kept.

use control_api::Severity;

use super::{Findings, View};

/// A disk that takes nothing, and what was wrong with the log.
pub(super) fn saving(view: &View<'_>, findings: &mut Findings) {
    if let Some(problem) = &view.saving.problem {
        let problem = format!("they cannot be saved: {problem}");
        let advice = "make room, or make it writable: until then no neighbor gets an offer, and what is \
                      carried without one is carried for nothing";
        findings.error("receipts", problem, advice);
    }
    for finding in &view.saving.findings {
        let severity = match finding.is_ordinary() {
            true => Severity::Note,
            false => Severity::Warning,
        };
        findings.push(severity, "receipts", finding.to_string(), finding.advice());
    }
}
