//! What is fuzzed: one function for each decoder, which takes any bytes and panics where
//! something that must always hold does not.
//!
//! `cargo fuzz run TARGET` finds new inputs for them; the normal test run replays those kept in
//! `corpus/TARGET/`.

mod log;
mod router;
mod text;
mod wire;

pub use log::{log, message};
pub use router::router;
pub use text::{config, session, topology};
pub use wire::packet;

/// Takes any bytes; panics where something is broken.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("packet", packet),
    ("router", router),
    ("session", session),
    ("message", message),
    ("log", log),
    ("config", config),
    ("topology", topology),
];
