//! Netlink requests that rtnetlink does not know, through neli.
//!
//! The kernel answers these on the spot, so they are made without giving way to other tasks: within
//! microseconds for each object. Only where a radio's driver has to ask its firmware they take as long
//! as that does, for which there is the radios' thread. Sockets stay open and have one buffer each: some
//! are asked twice a second while traffic flows.

use std::io::{self, Cursor};

use neli::FromBytes;
use neli::ToBytes;
use neli::consts::nl::{NlmF, Nlmsg};
use neli::consts::socket::{Msg, NlFamily};
use neli::nl::{NlPayload, Nlmsghdr, NlmsghdrBuilder};
use neli::socket::NlSocket;
use neli::types::Buffer;
use neli::utils::Groups;
use nix::errno::Errno;
use tokio::io::unix::AsyncFd;

use super::netlink::KernelError;
use crate::watch;

/// The kernel makes no part of a dump larger than this (`netlink_dump` in
/// net/netlink/af_netlink.c).
const BUFFER_BYTES: usize = 32768;

/// A dump during which its objects changed is not consistent; changes are rare.
const DUMP_ATTEMPTS: usize = 5;

/// The payload of a message: a header of the family's own, then attributes.
pub(super) type Payload = Vec<u8>;

/// A socket of one netlink family.
pub(super) struct Socket {
    socket: NlSocket,
    buffer: Vec<u8>,
    /// Tells the answers to one request from what is left of others.
    sequence: u32,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub(super) fn open(family: NlFamily) -> io::Result<Self> {
        Self::open_for(family, Groups::empty())
    }

    /// The same, for a socket that is also told what goes to `groups`.
    pub(super) fn open_for(family: NlFamily, groups: Groups) -> io::Result<Self> {
        let socket = NlSocket::connect(family, None, groups)?;
        socket.block()?;
        Ok(Self {
            socket,
            buffer: vec![0; BUFFER_BYTES],
            sequence: 0,
        })
    }

    /// From now on it is also told what goes to `groups`.
    pub(super) fn join(&self, groups: Groups) -> io::Result<()> {
        self.socket.add_mcast_membership(groups)
    }

    /// From now on it only tells what happens. Must be called within a tokio runtime.
    pub(super) fn into_events(self) -> io::Result<EventSocket> {
        self.socket.nonblock()?;
        let Self { socket, buffer, .. } = self;
        Ok(EventSocket {
            socket: watch::for_input(socket)?,
            buffer,
        })
    }

    /// Asks for a change.
    ///
    /// # Errors
    /// [`KernelError::Refused`] with `action` when the kernel refuses.
    pub(super) fn change(
        &mut self,
        action: &str,
        (kind, flags): (u16, NlmF),
        payload: &[u8],
    ) -> Result<(), KernelError> {
        self.send(action, (kind, flags | NlmF::ACK), payload)?;
        self.receive(action, Answer::Ack).map(drop)
    }

    /// Asks for one object.
    ///
    /// # Errors
    /// [`KernelError::Refused`] with `action` when the kernel refuses, as when there is none.
    pub(super) fn get(
        &mut self,
        action: &str,
        kind: u16,
        payload: &[u8],
    ) -> Result<Payload, KernelError> {
        self.send(action, (kind, NlmF::empty()), payload)?;
        let (messages, _) = self.receive(action, Answer::One)?;
        messages
            .into_iter()
            .next()
            .ok_or_else(|| unexpected(action, "nothing"))
    }

    /// Asks for all objects that a request names.
    ///
    /// # Errors
    /// [`KernelError::Refused`] with `action` when the kernel refuses.
    pub(super) fn dump(
        &mut self,
        action: &str,
        kind: u16,
        payload: &[u8],
    ) -> Result<Vec<Payload>, KernelError> {
        for _ in 0..DUMP_ATTEMPTS {
            self.send(action, (kind, NlmF::DUMP), payload)?;
            let (messages, consistent) = self.receive(action, Answer::Many)?;
            if consistent {
                return Ok(messages);
            }
        }
        Err(unexpected(action, "it does not stop changing"))
    }

    fn send(
        &mut self,
        action: &str,
        (kind, flags): (u16, NlmF),
        payload: &[u8],
    ) -> Result<(), KernelError> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = NlmsghdrBuilder::default()
            .nl_type(kind)
            .nl_flags(NlmF::REQUEST | flags)
            .nl_seq(self.sequence)
            .nl_payload(NlPayload::Payload(Buffer::from(payload)))
            .build()
            .map_err(|error| unexpected(action, error))?;
        let mut bytes = Cursor::new(Vec::new());
        request
            .to_bytes(&mut bytes)
            .map_err(|error| unexpected(action, error))?;
        let sent = self.socket.send(bytes.into_inner(), Msg::empty());
        sent.map(drop).map_err(|error| refused(action, error))
    }

    /// Receives the answer to the last request, and whether it is consistent.
    fn receive(
        &mut self,
        action: &str,
        answer: Answer,
    ) -> Result<(Vec<Payload>, bool), KernelError> {
        let mut messages = Vec::new();
        let mut consistent = true;
        loop {
            let received = self.socket.recv(&mut self.buffer, Msg::empty());
            let (length, _) = received.map_err(|error| refused(action, error))?;
            let bytes = self.buffer.get(..length).unwrap_or_default();
            let mut cursor = Cursor::new(bytes);
            while cursor.position() < length as u64 {
                let message = Nlmsghdr::<u16, Buffer>::from_bytes(&mut cursor)
                    .map_err(|error| unexpected(action, error))?;
                if *message.nl_seq() != self.sequence {
                    continue;
                }
                consistent &= !message.nl_flags().contains(NlmF::DUMP_INTR);
                if let Some(error) = error(&message) {
                    return Err(refused(action, error));
                }
                if answer.is_last(&message) {
                    messages.extend(payload(&message));
                    return Ok((messages, consistent));
                }
                messages.extend(payload(&message));
            }
        }
    }
}

/// What happened.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) kind: u16,
    /// The port of the socket that was used for it (netlink(7)): the first of a process has its number. 0 is the
    /// kernel.
    pub(super) by: u32,
    pub(super) payload: Payload,
}

/// A socket that tells of what happens without being asked.
pub(super) struct EventSocket {
    socket: AsyncFd<NlSocket>,
    buffer: Vec<u8>,
}

impl EventSocket {
    /// Waits for the next messages. What cannot be parsed is left out.
    ///
    /// # Errors
    /// `ENOBUFS` when messages were lost; others the kernel has no reason for.
    pub(super) async fn receive(&mut self) -> io::Result<Vec<Told>> {
        loop {
            let mut ready = self.socket.readable().await?;
            let buffer = &mut self.buffer;
            if let Ok(received) = ready.try_io(|it| it.get_ref().recv(buffer, Msg::empty())) {
                return received.map(|(length, _)| self.messages(length));
            }
        }
    }

    /// The next messages if they are there already; an error as above.
    pub(super) fn receive_now(&mut self) -> Option<io::Result<Vec<Told>>> {
        let received = self.socket.get_ref().recv(&mut self.buffer, Msg::empty());
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            received => Some(received.map(|(length, _)| self.messages(length))),
        }
    }

    fn messages(&self, length: usize) -> Vec<Told> {
        let bytes = self.buffer.get(..length).unwrap_or_default();
        let mut cursor = Cursor::new(bytes);
        let mut messages = Vec::new();
        while cursor.position() < length as u64
            && let Ok(message) = Nlmsghdr::<u16, Buffer>::from_bytes(&mut cursor)
        {
            messages.extend(payload(&message).map(|payload| Told {
                kind: *message.nl_type(),
                by: *message.nl_pid(),
                payload,
            }));
        }
        messages
    }
}

/// What a request is answered with.
#[derive(Clone, Copy)]
enum Answer {
    /// An acknowledgement alone.
    Ack,
    /// One message.
    One,
    /// Messages until one that says that there are no more.
    Many,
}

impl Answer {
    fn is_last(self, message: &Nlmsghdr<u16, Buffer>) -> bool {
        match self {
            Self::Ack => matches!(message.nl_payload(), NlPayload::Ack(_)),
            Self::One => true,
            Self::Many => *message.nl_type() == u16::from(Nlmsg::Done),
        }
    }
}

/// Why the kernel refuses, if a message says that it does. What goes wrong within a dump is told with
/// its end (`netlink_dump_done` in net/netlink/af_netlink.c).
fn error(message: &Nlmsghdr<u16, Buffer>) -> Option<io::Error> {
    let number = match message.nl_payload() {
        NlPayload::Err(refusal) => *refusal.error(),
        NlPayload::DumpExtAck(end) => *end.error(),
        NlPayload::Ack(_) | NlPayload::Payload(_) | NlPayload::Empty => 0,
    };
    (number != 0).then(|| io::Error::from_raw_os_error(number.saturating_abs()))
}

fn payload(message: &Nlmsghdr<u16, Buffer>) -> Option<Payload> {
    let is_control = *message.nl_type() < NLMSG_MIN_TYPE;
    let payload = message.get_payload().filter(|_| !is_control)?;
    Some(payload.as_ref().to_vec())
}

/// Message types below are netlink's own (linux/netlink.h).
const NLMSG_MIN_TYPE: u16 = 16;

fn refused(action: &str, source: io::Error) -> KernelError {
    KernelError::Refused {
        action: action.to_owned(),
        source,
    }
}

fn unexpected(action: &str, detail: impl ToString) -> KernelError {
    KernelError::Unexpected {
        action: action.to_owned(),
        detail: detail.to_string(),
    }
}

/// Turns a refusal for the want of something into another error.
pub(super) fn or_missing(error: KernelError, missing: KernelError) -> KernelError {
    if error.is_errno(&[Errno::ENOENT]) {
        missing
    } else {
        error
    }
}

/// Bytes of an attribute's header (`struct nlattr`: length, type).
const HEADER_BYTES: usize = 4;

/// Bits of an attribute's type that say how it is to be read.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Appends an attribute: length, type, value, padding.
pub(super) fn push(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = HEADER_BYTES + value.len();
    bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Appends an attribute that is a string with a zero at its end.
pub(super) fn push_string(bytes: &mut Vec<u8>, kind: u16, value: &str) {
    push(bytes, kind, &[value.as_bytes(), &[0]].concat());
}

/// Attributes one after the other, as they came from the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Those of a message behind a header of `header_bytes`.
    pub(super) fn of(payload: &'a [u8], header_bytes: usize) -> Self {
        Self(payload.get(header_bytes..).unwrap_or_default())
    }

    /// The value of the first attribute of this type.
    pub(super) fn bytes(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|&(found, _)| found == kind)
            .map(|(_, value)| value)
    }

    /// The attributes in the first attribute of this type.
    pub(super) fn nested(self, kind: u16) -> Option<Self> {
        self.bytes(kind).map(Self)
    }

    /// The attributes in each attribute of these.
    pub(super) fn each(self) -> impl Iterator<Item = Self> {
        self.map(|(_, value)| Self(value))
    }

    /// A string, without the zero at its end.
    pub(super) fn string(self, kind: u16) -> Option<&'a str> {
        let text = std::str::from_utf8(self.bytes(kind)?).ok()?;
        Some(text.trim_end_matches('\0'))
    }

    /// Whether there is an attribute of this type: of those that say yes by being there.
    pub(super) fn flag(self, kind: u16) -> bool {
        self.bytes(kind).is_some()
    }

    /// A number of 8 bits.
    pub(super) fn u8(self, kind: u16) -> Option<u8> {
        self.bytes(kind)?.first().copied()
    }

    /// A number of 16 bits in the order of this machine.
    pub(super) fn u16(self, kind: u16) -> Option<u16> {
        self.bytes(kind)?.try_into().ok().map(u16::from_ne_bytes)
    }

    /// A number of 32 bits in the order of this machine.
    pub(super) fn u32(self, kind: u16) -> Option<u32> {
        self.bytes(kind)?.try_into().ok().map(u32::from_ne_bytes)
    }

    /// A number of 64 bits in network order, as nf_tables sends them.
    pub(super) fn big_endian(self, kind: u16) -> Option<u64> {
        self.bytes(kind)?.try_into().ok().map(u64::from_be_bytes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[a, b, c, d], _) = self.0.split_first_chunk::<HEADER_BYTES>()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = self.0.get(HEADER_BYTES..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & NLA_TYPE_MASK, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes() -> Vec<u8> {
        let mut inner = Vec::new();
        push(&mut inner, 3, &7_u64.to_be_bytes());
        let mut bytes = vec![0xaa; 4];
        push_string(&mut bytes, 1, "meshd");
        push(&mut bytes, 2 | 0x8000, &inner);
        push(&mut bytes, 4, &9_u32.to_ne_bytes());
        bytes
    }

    /// The last message of a dump, as `netlink_dump_done` writes it.
    fn end_of_dump(error: i32) -> Nlmsghdr<u16, Buffer> {
        let mut bytes = Vec::new();
        bytes.extend(20_u32.to_ne_bytes());
        bytes.extend(u16::from(Nlmsg::Done).to_ne_bytes());
        bytes.extend(NlmF::MULTI.bits().to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(error.to_ne_bytes());
        Nlmsghdr::from_bytes(&mut Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn a_dump_that_failed_is_no_empty_one() {
        let failed = end_of_dump(-nix::libc::EBUSY);
        let found = error(&failed).and_then(|error| error.raw_os_error());
        assert_eq!(found, Some(nix::libc::EBUSY));
        assert!(Answer::Many.is_last(&failed));
        assert!(error(&end_of_dump(0)).is_none());
    }

    #[test]
    fn what_was_pushed_is_found() {
        let bytes = attributes();
        let found = Attributes::of(&bytes, 4);
        assert_eq!(found.string(1), Some("meshd"));
        assert_eq!(found.nested(2).and_then(|it| it.big_endian(3)), Some(7));
        assert_eq!(found.u32(4), Some(9));
        assert_eq!(found.count(), 3);
    }

    #[test]
    fn what_is_cut_short_is_left_out() {
        let bytes = attributes();
        for length in 0..bytes.len() {
            let cut = bytes.get(..length).unwrap_or_default();
            assert!(Attributes::of(cut, 4).count() < 3, "{length}");
        }
    }
}
