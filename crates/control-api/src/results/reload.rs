//! `reload`: what a changed configuration file came to.

use serde::{Deserialize, Serialize};

/// The configuration was read again and is valid; a bad one is an error and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// The keys whose new value is in force now.
    pub changed: Vec<String>,
    /// The keys whose new value waits for a restart.
    pub needs_restart: Vec<String>,
}
