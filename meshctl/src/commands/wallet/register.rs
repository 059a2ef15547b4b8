//! `meshctl wallet register FILE --service URL`

use std::fs;
use std::path::Path;

use control_api::Exit;
use ethereum::rpc::{Limits, NodeUrl};
use redeem_api::client::Service;
use redeem_api::{NodeStatement, RegistrationAnswer, SCHEMA};

use super::passphrase::Passphrases;
use super::store::{Store, about};
use crate::commands::block_on;
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn run(
    output: Output,
    store: &Store,
    passphrases: &Passphrases,
    file: &Path,
    service: NodeUrl,
) -> Result<(), Failure> {
    let statement = read(file)?;
    let opened = store.open()?;
    if opened.address != statement.account {
        let message = format!(
            "it is about account {}, and this wallet is {}",
            statement.account.to_checksum(None),
            opened.address.to_checksum(None)
        );
        return Err(about(file, Failure::new(Exit::Failure, message)));
    }
    let request = statement.countersign(&opened.decrypt(passphrases)?);
    let request = request.map_err(|error| {
        about(
            file,
            Failure::new(Exit::VerificationFailed, error.to_string()),
        )
    })?;
    let answer = block_on(async {
        let service = Service::new(service, Limits::default())?;
        service.register(&request).await
    })?;
    output.show(&answer, |RegistrationAnswer { node, account, .. }| {
        let account = account.to_checksum(None);
        format!("node {node}\nearns for account {account} from now on\n")
    })
}

fn read(file: &Path) -> Result<NodeStatement, Failure> {
    let bytes = fs::read(file).map_err(|error| Failure::file(file, &error))?;
    let statement: Result<NodeStatement, _> = serde_json::from_slice(&bytes);
    let invalid = |message: String| about(file, Failure::new(Exit::Failure, message));
    let statement = statement.map_err(|error| invalid(error.to_string()))?;
    match statement.schema {
        SCHEMA => Ok(statement),
        other => Err(invalid(format!(
            "a statement of schema {other}; known is {SCHEMA}"
        ))),
    }
}
