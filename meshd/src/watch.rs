//! File descriptors that are watched for input.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime watch a file descriptor for input, and for nothing else: its own types also
/// wake us when something sent has left. Must be called within a runtime; the descriptor must be
/// the value's own, and must not block.
///
/// # Errors
/// What the kernel refuses, as when it is out of memory.
#[expect(
    deprecated,
    reason = "the successor is unsafe, for types that do not own what they name; ours do"
)]
pub(crate) fn for_input<T: AsRawFd>(descriptor: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}
