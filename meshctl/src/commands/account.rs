//! `meshctl account ACCOUNT FILE`

use alloy_primitives::Address;
use control_api::{Exit, NodeId};
use ethereum::rpc::{Limits, NodeUrl};
use receipts::Party;
use redeem_api::NodeStatement;
use redeem_api::client::{ClientError, Service};
use serde::Serialize;

use super::block_on;
use crate::cli;
use crate::failure::Failure;
use crate::format;
use crate::output::Output;
use crate::private_file;

/// What a statement is for.
struct Place {
    chain_id: u64,
    book: Address,
    sequence: u64,
}

/// A statement that was written.
#[derive(Debug, Serialize)]
struct Written {
    file: String,
    #[serde(flatten)]
    statement: NodeStatement,
}

pub(super) fn run(output: Output, options: &cli::Account) -> Result<(), Failure> {
    let key = meshd::identity::load(&options.identity)
        .map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    let node = NodeId::new(*Party::of(&key).as_bytes());
    let place = place(options, node)?;
    let statement = NodeStatement::sign(
        &key,
        place.chain_id,
        place.book,
        options.account,
        place.sequence,
    );
    let json = serde_json::to_vec_pretty(&statement)
        .map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    private_file::replace(&options.file, &json)
        .map_err(|error| Failure::file(&options.file, &error))?;
    let file = options.file.display().to_string();
    output.show(&Written { file, statement }, text)
}

fn text(written: &Written) -> String {
    let file = format::harmless(&written.file);
    format!(
        "{file}: node {} earns for {}\nNext, where the key of that account is: meshctl wallet register {file} --service URL\n",
        written.statement.node.short(),
        written.statement.account.to_checksum(None),
    )
}

/// What is given goes before what the service says, so that a router without Internet can do without it.
fn place(options: &cli::Account, node: NodeId) -> Result<Place, Failure> {
    if let (None, Some(chain_id), Some(book)) = (&options.service, options.chain_id, options.book) {
        let sequence = options.sequence.unwrap_or(1);
        return Ok(Place {
            chain_id,
            book,
            sequence,
        });
    }
    let no_service = || Failure::new(Exit::Usage, "--service URL, or --chain-id and --book");
    let url = options.service.clone().ok_or_else(no_service)?;
    let (asked, last) = block_on(ask(url, node))?;
    Ok(Place {
        chain_id: options.chain_id.unwrap_or(asked.chain_id),
        book: options.book.unwrap_or(asked.book),
        sequence: options.sequence.unwrap_or(last.saturating_add(1)),
    })
}

async fn ask(url: NodeUrl, node: NodeId) -> Result<(redeem_api::ServiceAnswer, u64), ClientError> {
    let service = Service::new(url, Limits::default())?;
    let known = service.node(&node.to_string()).await?;
    let last = known.and_then(|known| known.sequence).unwrap_or(0);
    Ok((service.service().await?, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_has_all_that_it_needs() {
        let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
        let [book, account] = [Address::repeat_byte(1), Address::repeat_byte(2)];
        let written = Written {
            file: "account.json".to_owned(),
            statement: NodeStatement::sign(&key, 1, book, account, 1),
        };
        let text = text(&written);
        let next = "meshctl wallet register account.json --service URL\n";
        assert!(text.ends_with(next), "{text}");
    }
}
