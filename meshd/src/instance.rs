//! One daemon for each network namespace.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Abstract socket names belong to the network namespace (unix(7)), as everything does that the
/// daemon changes, and are free again as soon as the process ends, however it ends.
const NAME: &[u8] = b"meshd";

/// The right to be the daemon of this network namespace, ours while this lives.
#[derive(Debug)]
pub struct Instance {
    _name: UnixDatagram,
}

impl Instance {
    /// Claims it.
    ///
    /// # Errors
    /// Another daemon has it.
    pub fn claim() -> io::Result<Self> {
        let name = SocketAddr::from_abstract_name(NAME)?;
        let _name = UnixDatagram::bind_addr(&name).map_err(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                io::Error::new(error.kind(), "another meshd is running in it")
            } else {
                error
            }
        })?;
        Ok(Self { _name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_at_a_time() {
        let first = Instance::claim().unwrap();
        let second = Instance::claim().unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(Instance::claim().is_ok());
    }
}
