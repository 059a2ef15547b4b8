//! What is checked and measured while a mesh runs.
//!
//! | file | what |
//! |---|---|
//! | `loops` | where all kernels send packets, and whether that leads in a circle |
//! | `reach` | which pairs of nodes have a path, kept up to date change by change |
//! | `uplinks` | which nodes have a way to the Internet |
//! | `outages` | how long pairs were without a path |
//! | `phases` | all of this from one step of the scenario to the next |
//! | `sent` | what every node sent in every second |

mod loops;
mod matrix;
mod outages;
mod phases;
mod reach;
mod sent;
mod uplinks;

pub use loops::Cycle;
pub(crate) use loops::NextHops;
pub use outages::{Histogram, Outage};
pub(crate) use phases::Phases;
pub use phases::{Arrival, Phase};
pub(crate) use reach::Reach;
pub use sent::Sent;
pub(crate) use sent::Traffic;
pub(crate) use uplinks::Uplinks;
