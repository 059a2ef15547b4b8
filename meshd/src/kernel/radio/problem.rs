//! What is wrong with a radio's interface, and what an operator can do about it.

use rtnetlink::packet_route::link::LinkMessage;

use super::channel::Channel;
use super::interface::WirelessInterface;
use super::mark::{self, Marked};
use super::phy::Unfit;
use crate::kernel::netlink::KernelError;

/// Why an interface is not what it should be, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in a line.
    pub what: String,
    /// What an operator can do about it, in a line.
    pub advice: String,
}

/// Why an interface is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum RadioError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// What the task that looks after wpa_supplicant says.
    #[error("{}", .0.what)]
    Supplicant(Problem),
    #[error("the kernel has no support for wireless")]
    NoWireless,
    #[error("{0} was not made by meshd: remove it, or `radio` from the configuration")]
    Foreign(String),
    #[error("{0} is an interface without a radio")]
    NoRadio(String),
    #[error("neighbors are talked to without encryption though a key is set")]
    NotEncrypted,
    #[error("wpa_supplicant runs, but the mesh is not joined")]
    NotJoined,
    #[error("{0} is switched off (rfkill)")]
    Blocked(String),
    #[error("its channel is {found}, however often it is made with {wanted}")]
    Beside { found: String, wanted: String },
}

impl RadioError {
    /// That an interface does not get its channel.
    pub(super) fn beside(marked: &Marked, channel: Channel) -> Self {
        let described = |mhz, width| format!("{mhz} MHz ({width})");
        let width = marked.width.unwrap_or("of unknown width");
        Self::Beside {
            found: described(marked.frequency_mhz.unwrap_or_default(), width),
            wanted: described(channel.frequency_mhz(), &channel.width().to_string()),
        }
    }
}

impl From<RadioError> for Problem {
    fn from(error: RadioError) -> Self {
        let advice = match &error {
            RadioError::Kernel(_) => {
                "look into the kernel's log (dmesg): the driver may say more".to_owned()
            }
            RadioError::Unfit(unfit) => unfit.advice(),
            RadioError::Supplicant(problem) => problem.advice.clone(),
            RadioError::NoWireless => "plug the radio in and load its driver (modprobe)".to_owned(),
            RadioError::Foreign(name) => format!("iw dev {name} del"),
            RadioError::NoRadio(_) => {
                "give the radio's interface a name that is free, or remove `radio` from the configuration"
                    .to_owned()
            }
            RadioError::NotEncrypted => {
                "install a wpa_supplicant with SAE and mesh support".to_owned()
            }
            RadioError::NotJoined => {
                "nothing: the interface is made anew; the kernel's log (dmesg) may say more"
                    .to_owned()
            }
            RadioError::Blocked(_) => "rfkill unblock wifi, or the switch on the case".to_owned(),
            RadioError::Beside { .. } => {
                "choose `frequency_mhz` and `width` that its driver takes, on all nodes".to_owned()
            }
        };
        Self {
            what: error.to_string(),
            advice,
        }
    }
}

/// What is wrong with an interface that has the name of one that should be ours.
pub(super) fn not_ours(
    name: &str,
    message: &LinkMessage,
    wireless: &[WirelessInterface],
) -> RadioError {
    match mark::is_wireless(message, wireless) {
        true => RadioError::Foreign(name.to_owned()),
        false => RadioError::NoRadio(name.to_owned()),
    }
}

/// What it means that an interface cannot be switched on.
pub(super) fn or_blocked(error: KernelError) -> RadioError {
    if error.is_number(nix::libc::ERFKILL) {
        RadioError::Blocked("its radio".to_owned())
    } else {
        RadioError::Kernel(error)
    }
}

#[cfg(test)]
mod tests {
    use mesh_proto::IfIndex;

    use super::*;
    use crate::kernel::radio::InterfaceKind;

    #[test]
    fn an_interface_without_a_radio_is_not_for_iw() {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        let mut radio = WirelessInterface {
            ifindex: IfIndex(7),
            name: "mesh0".to_owned(),
            wiphy: 0,
            kind: InterfaceKind::MESH,
            ssid: None,
            frequency_mhz: None,
            width: None,
            tx_power_mbm: None,
        };
        let advice = |radio: &WirelessInterface| {
            let error = not_ours("mesh0", &message, std::slice::from_ref(radio));
            Problem::from(error).advice
        };
        assert_eq!(advice(&radio), "iw dev mesh0 del");
        radio.ifindex = IfIndex(8);
        assert!(!advice(&radio).contains("iw dev"));
    }
}
