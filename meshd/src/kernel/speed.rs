//! How fast wires are (linux/ethtool_netlink.h). `/sys/class/net` would show the interfaces of
//! whichever network namespace it was mounted in.

use std::io;

use mesh_proto::IfIndex;

use super::genl::{Genl, NLA_F_NESTED};
use super::netlink::KernelError;
use super::raw::push;

const ETHTOOL_MSG_LINKMODES_GET: u8 = 4;
const ETHTOOL_A_LINKMODES_HEADER: u16 = 1;
const ETHTOOL_A_LINKMODES_SPEED: u16 = 5;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
/// What the kernel says if it does not know (linux/ethtool.h).
const SPEED_UNKNOWN: u32 = u32::MAX;

/// Asks for speeds.
pub(super) struct Speeds {
    ethtool: Genl,
}

impl Speeds {
    pub(super) fn open() -> io::Result<Self> {
        let ethtool = Genl::open("ethtool")?;
        Ok(Self { ethtool })
    }

    /// The speed of a wire in Mbit/s; none for radio, and where the driver does not say.
    pub(super) fn of(&mut self, ifindex: IfIndex) -> Option<u32> {
        match self.ask(ifindex) {
            Ok(speed) => speed,
            Err(error) => {
                tracing::trace!(%error, %ifindex);
                None
            }
        }
    }

    fn ask(&mut self, ifindex: IfIndex) -> Result<Option<u32>, KernelError> {
        let index = ifindex.0.to_ne_bytes();
        let mut header = Vec::new();
        push(&mut header, ETHTOOL_A_HEADER_DEV_INDEX, &index);
        let mut request = Vec::new();
        let kind = ETHTOOL_A_LINKMODES_HEADER | NLA_F_NESTED;
        push(&mut request, kind, &header);
        let action = "read the speed of an interface";
        let answer = self
            .ethtool
            .get(action, ETHTOOL_MSG_LINKMODES_GET, &request)?;
        let speed = answer.attributes().u32(ETHTOOL_A_LINKMODES_SPEED);
        Ok(speed.filter(|&speed| speed != SPEED_UNKNOWN && speed != 0))
    }
}
