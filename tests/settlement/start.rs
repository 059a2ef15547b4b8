//! What a service refuses to begin with, and several that begin at once.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness;
use mesh_tests::redeemd::{Redeemd, Settings, refusal};

use crate::valley::{Valley, new_key, with_both, with_sqlite};

pub(crate) fn tests() -> Vec<Trial> {
    let mut trials = with_both("a_database_of_another_book_is_refused", other_book);
    trials.extend(with_both(
        "services_can_begin_on_an_empty_database_at_once",
        at_once,
    ));
    trials.push(with_sqlite("another_chain_is_refused", other_chain));
    trials.push(harness::plain(
        "a_key_that_others_can_read_is_refused",
        open_key,
    ));
    trials
}

fn other_book(valley: &Valley) -> Result<()> {
    let settings = &valley.settings;
    valley.start()?.stop()?;
    let (key, _) = new_key()?;
    let book = valley.token;
    let others = [
        Settings {
            key,
            ..settings.clone()
        },
        Settings {
            book,
            ..settings.clone()
        },
    ];
    for other in others {
        let said = refusal(&other)?;
        ensure!(
            said.contains("the database holds cheques of chain"),
            "{said}"
        );
    }
    valley.start()?.stop()
}

fn other_chain(valley: &Valley) -> Result<()> {
    let other = Settings {
        chain_id: 1,
        ..valley.settings.clone()
    };
    let said = refusal(&other)?;
    ensure!(
        said.contains("is a node of chain 31337, expected 1"),
        "{said}"
    );
    Ok(())
}

fn open_key() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let valley = Valley::new(crate::valley::Database::Sqlite)?;
    let key = &valley.settings.key;
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644))?;
    let said = refusal(&valley.settings)?;
    ensure!(said.contains("others can read"), "{said}");
    let secret = std::fs::read_to_string(key)?;
    ensure!(!said.contains(secret.trim()), "it tells the key");
    Ok(())
}

fn at_once(valley: &Valley) -> Result<()> {
    let services: Result<Vec<_>> = (0..4).map(|_| Redeemd::spawn(&valley.settings)).collect();
    for service in services? {
        service.listens()?.stop()?;
    }
    Ok(())
}
