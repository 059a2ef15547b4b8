//! Generic netlink: families that are found by name, with commands of their own
//! (linux/genetlink.h).

use std::collections::BTreeMap;
use std::io;

use neli::consts::nl::NlmF;
use neli::consts::socket::NlFamily;
use neli::utils::Groups;
use nix::errno::Errno;
use zeroize::Zeroizing;

use super::netlink::KernelError;
use super::raw::{Attributes, EventSocket, Payload, Socket, push_string};

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
const CTRL_ATTR_MCAST_GRP_NAME: u16 = 1;
const CTRL_ATTR_MCAST_GRP_ID: u16 = 2;

/// `struct genlmsghdr`: command, version, reserved.
const GENLMSGHDR_BYTES: usize = 4;

/// Set on attributes that hold others (linux/netlink.h).
pub(super) const NLA_F_NESTED: u16 = 1 << 15;

/// A message: a command and its attributes.
#[derive(Clone, Debug)]
pub(super) struct Message {
    payload: Payload,
}

impl Message {
    /// What happened, or was asked for.
    pub(super) fn command(&self) -> u8 {
        self.payload.first().copied().unwrap_or_default()
    }

    /// With what.
    pub(super) fn attributes(&self) -> Attributes<'_> {
        Attributes::of(&self.payload, GENLMSGHDR_BYTES)
    }
}

/// A socket for one family. The family is looked for when it is first asked: its kernel module may
/// come later than we do. One that is loaded anew has another number.
pub(super) struct Genl {
    socket: Socket,
    name: &'static str,
    family: Option<Family>,
}

#[derive(Clone, Debug)]
struct Family {
    number: u16,
    groups: BTreeMap<String, u32>,
}

impl Genl {
    /// Opens a socket in the network namespace of the calling thread.
    pub(super) fn open(name: &'static str) -> io::Result<Self> {
        Ok(Self {
            socket: Socket::open(NlFamily::Generic)?,
            name,
            family: None,
        })
    }

    /// Whether the kernel has this family by now.
    pub(super) fn is_there(&mut self) -> bool {
        self.family().is_ok()
    }

    /// Whether these come from the family that is there now.
    pub(super) fn is_source_of(&self, events: &Events) -> bool {
        let family = self.family.as_ref();
        family.is_some_and(|family| family.number == events.number)
    }

    /// Asks for a change.
    ///
    /// # Errors
    /// [`KernelError::Refused`] with `action`; `ENOENT` when there is no such family.
    pub(super) fn change(
        &mut self,
        action: &str,
        command: u8,
        attributes: &[u8],
    ) -> Result<(), KernelError> {
        // There may be a key in it.
        let request = Zeroizing::new(request(command, attributes));
        self.ask(|socket, number| socket.change(action, (number, NlmF::empty()), &request))
    }

    /// Asks for one object. Errors as above.
    pub(super) fn get(
        &mut self,
        action: &str,
        command: u8,
        attributes: &[u8],
    ) -> Result<Message, KernelError> {
        let request = request(command, attributes);
        let payload = self.ask(|socket, number| socket.get(action, number, &request))?;
        Ok(Message { payload })
    }

    /// Asks for all objects. Errors as above.
    pub(super) fn dump(
        &mut self,
        action: &str,
        command: u8,
        attributes: &[u8],
    ) -> Result<Vec<Message>, KernelError> {
        let request = request(command, attributes);
        let payloads = self.ask(|socket, number| socket.dump(action, number, &request))?;
        let message = |payload| Message { payload };
        Ok(payloads.into_iter().map(message).collect())
    }

    /// Another socket, which is told what goes to these groups of the family. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// There is no such family, or the kernel refuses.
    pub(super) fn events(&mut self, groups: &[&str]) -> Result<Events, KernelError> {
        let family = self.family()?.clone();
        let numbers = groups.iter().filter_map(|&name| family.groups.get(name));
        let numbers: Vec<u32> = numbers.copied().collect();
        let open = || {
            let socket = Socket::open(NlFamily::Generic)?;
            socket.join(Groups::new_groups(&numbers))?;
            socket.into_events()
        };
        let socket = open().map_err(|source| KernelError::Refused {
            action: format!("listen to {}", self.name),
            source,
        })?;
        Ok(Events {
            socket,
            number: family.number,
        })
    }

    /// Asks the family, by its number.
    fn ask<T>(
        &mut self,
        mut question: impl FnMut(&mut Socket, u16) -> Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        let known = self.family()?.number;
        let answer = question(&mut self.socket, known);
        if !matches!(&answer, Err(error) if error.is_errno(&[Errno::ENOENT])) {
            return answer;
        }
        // What is not there may be the family.
        self.family = None;
        match self.family()?.number {
            number if number == known => answer,
            number => question(&mut self.socket, number),
        }
    }

    fn family(&mut self) -> Result<&Family, KernelError> {
        if self.family.is_none() {
            self.family = Some(find(&mut self.socket, self.name)?);
        }
        self.family
            .as_ref()
            .ok_or_else(|| unexpected(self.name, "no family"))
    }
}

/// What a family tells without being asked.
pub(super) struct Events {
    socket: EventSocket,
    number: u16,
}

impl Events {
    /// Waits for the next messages.
    ///
    /// # Errors
    /// `ENOBUFS` when messages were lost; others the kernel has no reason for.
    pub(super) async fn receive(&mut self) -> io::Result<Vec<Message>> {
        let messages = self.socket.receive().await?.into_iter();
        let ours = messages.filter(|it| it.kind == self.number);
        Ok(ours
            .map(|it| Message {
                payload: it.payload,
            })
            .collect())
    }

    /// Forgets what was told until now.
    pub(super) fn skip(&mut self) {
        while let Some(Ok(_)) = self.socket.receive_now() {}
    }
}

fn request(command: u8, attributes: &[u8]) -> Payload {
    [&[command, 1, 0, 0], attributes].concat()
}

fn find(socket: &mut Socket, name: &str) -> Result<Family, KernelError> {
    let action = format!("find {name}");
    let mut attributes = Vec::new();
    push_string(&mut attributes, CTRL_ATTR_FAMILY_NAME, name);
    let request = request(CTRL_CMD_GETFAMILY, &attributes);
    let payload = socket.get(&action, GENL_ID_CTRL, &request)?;
    let answer = Attributes::of(&payload, GENLMSGHDR_BYTES);
    let number = answer
        .u16(CTRL_ATTR_FAMILY_ID)
        .ok_or_else(|| unexpected(name, "a family without a number"))?;
    let groups = answer.nested(CTRL_ATTR_MCAST_GROUPS).into_iter();
    let group = |group: Attributes<'_>| {
        let name = group.string(CTRL_ATTR_MCAST_GRP_NAME)?;
        Some((name.to_owned(), group.u32(CTRL_ATTR_MCAST_GRP_ID)?))
    };
    Ok(Family {
        number,
        groups: groups
            .flat_map(Attributes::each)
            .filter_map(group)
            .collect(),
    })
}

fn unexpected(name: &str, detail: &str) -> KernelError {
    KernelError::Unexpected {
        action: format!("find {name}"),
        detail: detail.to_owned(),
    }
}
