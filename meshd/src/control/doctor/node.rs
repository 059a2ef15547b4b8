//! The node itself: who it is, and what the kernel does for it.

use super::{Findings, View};

/// What the kernel did not do as it should.
pub(super) fn kernel(view: &View<'_>, findings: &mut Findings) {
    for warning in &view.warnings {
        findings.warning("meshd", warning, "");
    }
}

/// Another node that says it is this one: of what is for either, much goes to the wrong one.
pub(super) fn identity(view: &View<'_>, findings: &mut Findings) {
    if let Some(problem) = view.double() {
        let file = view.config.identity().display();
        let advice = format!(
            "at the one whose state was copied: systemctl stop meshd, rm {file}, systemctl start meshd, \
             which makes a new key"
        );
        findings.error("identity", problem, advice);
    }
}
