//! Other people's ways to the Internet, and prefixes.

use mesh_proto::gateway_policy::Allowed;

use super::{Findings, View};

/// Somebody wants none.
pub(super) fn switched_off(view: &View<'_>, findings: &mut Findings) {
    if view.is_switched_off() {
        let problem = "none is used, as somebody has said at run time";
        findings.warning("gateways", problem, "meshctl gateways select auto");
    }
}

/// The only one that may be used is nowhere to be heard.
pub(super) fn unknown(view: &View<'_>, findings: &mut Findings) {
    let pinned = &view.config.gateways().allowed;
    let Allowed::Only(node) = view.selected.unwrap_or(pinned) else {
        return;
    };
    let gateways = view.router.gateways().into_iter();
    let mut records = gateways.filter_map(|gateway| view.router.record(gateway.id));
    if view.shared.is_some() || records.any(|it| node.matches(it.originator(), &it.record().name)) {
        return;
    }
    let (by, advice) = match view.selected {
        Some(_) => ("selected at run time", "meshctl gateways select auto"),
        None => (
            "`gateways.pin`",
            "meshctl gateways lists those that are there, and `meshctl gateways select NAME` has one of them used \
             until meshd ends; then correct `gateways.pin`",
        ),
    };
    let problem = format!(
        "only {node} may be used ({by}), and no gateway of that name is heard: no Internet"
    );
    findings.error("gateways", problem, advice);
}

/// All ways are too dear.
pub(super) fn priced_out(view: &View<'_>, findings: &mut Findings) {
    if let Some((problem, advice)) = view.priced_out() {
        findings.warning("gateways", problem, advice);
    }
}

/// Networks that are at two places.
pub(super) fn prefixes(view: &View<'_>, findings: &mut Findings) {
    for (prefix, problem) in view.prefix_conflicts() {
        let advice = "give the LAN of one of them other addresses and `prefixes`";
        findings.warning(prefix.to_string(), problem, advice);
    }
}
