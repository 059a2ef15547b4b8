//! What the machine has to be for meshd.

use super::{Findings, Machine};
use crate::kernel;

/// Settings that meshd made what routing needs, and somebody has changed since.
pub(super) fn sysctls(machine: &Machine, findings: &mut Findings) {
    let amiss = machine.base.as_ref().map(kernel::sysctls_amiss);
    for sysctl in amiss.unwrap_or_default() {
        let (key, wanted) = (sysctl.key, sysctl.wanted);
        let problem = format!(
            "somebody has set it to {}, and routing needs {wanted}",
            sysctl.found
        );
        let advice = format!(
            "meshctl doctor --fix; and set {key}={wanted} where the other value comes from: /etc/sysctl.conf, \
             /etc/sysctl.d or another program"
        );
        findings.error(key, problem, advice);
        findings.can_be_mended();
    }
}

/// Our table of nftables is gone, and was not made again.
pub(super) fn table(machine: &Machine, findings: &mut Findings) {
    if machine.base.is_some() && kernel::has_table().is_ok_and(|is_there| !is_there) {
        let problem = "the table inet meshd is gone: nothing is translated, filtered or counted";
        let advice = "meshctl doctor --fix; if that does not help, meshd's log says why nft fails";
        findings.error("nftables", problem, advice);
        findings.can_be_mended();
    }
}
