//! Who may use the control sockets.

use nix::unistd::{Gid, Group};

use super::error::quoted;
use super::fields::Value;

/// The name of a group of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupName(String);

impl GroupName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its number on this machine; `None` if there is no such group.
    pub fn gid(&self) -> Option<Gid> {
        Group::from_name(&self.0)
            .ok()
            .flatten()
            .map(|group| group.gid)
    }
}

/// Who may only ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReadOnly {
    /// Every user of this machine.
    #[default]
    All,
    /// Nobody: there is no socket for it.
    Off,
    /// The members of a group.
    Group(GroupName),
}

impl ReadOnly {
    /// The group, if it is for one.
    pub const fn group(&self) -> Option<&GroupName> {
        match self {
            Self::All | Self::Off => None,
            Self::Group(group) => Some(group),
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => "all",
            Self::Off => "off",
            Self::Group(group) => group.as_str(),
        }
    }
}

impl Value for GroupName {
    const ALLOWED: &'static str = "the name of a group of users";

    fn from_text(text: &str) -> Result<Self, String> {
        /// More than any system takes (useradd(8)).
        const MAX_LEN: usize = 32;
        let is_fitting = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match (1..=MAX_LEN).contains(&text.len()) && text.chars().all(is_fitting) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("is {}", quoted(text))),
        }
    }
}

impl Value for ReadOnly {
    const ALLOWED: &'static str = "all, off, or the name of a group of users";

    fn from_text(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "all" => Ok(Self::All),
            "off" | "false" | "no" => Ok(Self::Off),
            _ => GroupName::from_text(text).map(Self::Group),
        }
    }
}
