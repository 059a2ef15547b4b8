//! What is checked and measured while a mesh runs.

mod loops;
mod phases;
mod reach;

pub use loops::Cycle;
pub(crate) use loops::NextHops;
pub use phases::Phase;
pub(crate) use phases::Phases;
pub(crate) use reach::Reach;
