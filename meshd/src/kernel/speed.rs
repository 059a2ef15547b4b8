//! How fast wires are (linux/ethtool_netlink.h). `/sys/class/net` would show the interfaces of
//! whichever network namespace it was mounted in.

use std::io;

use mesh_proto::IfIndex;
use neli::consts::socket::NlFamily;

use super::netlink::KernelError;
use super::raw::{Attributes, Socket, push, push_string};

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const ETHTOOL_MSG_LINKMODES_GET: u8 = 4;
const ETHTOOL_A_LINKMODES_HEADER: u16 = 1;
const ETHTOOL_A_LINKMODES_SPEED: u16 = 5;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
/// `struct genlmsghdr`: command, version, reserved.
const GENLMSGHDR_BYTES: usize = 4;
/// What the kernel says if it does not know (linux/ethtool.h).
const SPEED_UNKNOWN: u32 = u32::MAX;

const READ: &str = "read the speed of an interface";

/// Asks for speeds.
pub(super) struct Speeds {
    socket: Socket,
    /// The number of the kernel's `ethtool` family, once it is known.
    family: Option<u16>,
}

impl Speeds {
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::open(NlFamily::Generic)?;
        Ok(Self {
            socket,
            family: None,
        })
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
        let family = self.family()?;
        let mut header = Vec::new();
        push(
            &mut header,
            ETHTOOL_A_HEADER_DEV_INDEX,
            &ifindex.0.to_ne_bytes(),
        );
        let mut request = vec![ETHTOOL_MSG_LINKMODES_GET, 1, 0, 0];
        push(
            &mut request,
            ETHTOOL_A_LINKMODES_HEADER | NLA_F_NESTED,
            &header,
        );
        let answer = self.socket.get(READ, family, &request)?;
        let answer = Attributes::of(&answer, GENLMSGHDR_BYTES);
        let speed = answer.u32(ETHTOOL_A_LINKMODES_SPEED);
        Ok(speed.filter(|&speed| speed != SPEED_UNKNOWN && speed != 0))
    }

    fn family(&mut self) -> Result<u16, KernelError> {
        if let Some(family) = self.family {
            return Ok(family);
        }
        let mut request = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
        push_string(&mut request, CTRL_ATTR_FAMILY_NAME, "ethtool");
        let answer = self.socket.get(READ, GENL_ID_CTRL, &request)?;
        let number = Attributes::of(&answer, GENLMSGHDR_BYTES).bytes(CTRL_ATTR_FAMILY_ID);
        let family = number.and_then(|number| number.try_into().ok());
        self.family = family.map(u16::from_ne_bytes);
        self.family.ok_or_else(|| KernelError::Unexpected {
            action: READ.to_owned(),
            detail: "a family without a number".to_owned(),
        })
    }
}

/// Set on attributes that hold others (linux/netlink.h).
const NLA_F_NESTED: u16 = 1 << 15;
