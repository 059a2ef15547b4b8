//! `meshctl version`

use control_api::{SCHEMA, Version};
use serde::Serialize;

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::Output;

/// Which programs there are.
#[derive(Debug, Serialize)]
struct Versions {
    schema: u32,
    client: Version,
    /// `null` when it did not answer.
    daemon: Option<Version>,
}

/// A daemon that does not answer is a failure, after all that is known has been printed.
pub(super) fn run(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    let answer = daemon.connect().and_then(|mut client| client.version());
    let (daemon, ended) = match answer {
        Ok(version) => (Some(version), Ok(())),
        Err(error) => (None, Err(error.into())),
    };
    let client = Version {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let versions = Versions {
        schema: SCHEMA,
        client,
        daemon,
    };
    output.show(&versions, text)?;
    ended
}

fn text(versions: &Versions) -> String {
    let daemon = format::or_dash(versions.daemon.as_ref(), one);
    format!("meshctl  {}\nmeshd    {daemon}\n", one(&versions.client))
}

fn one(version: &Version) -> String {
    format!(
        "{} (schema {})",
        format::cut(&version.version, 30),
        version.schema
    )
}
