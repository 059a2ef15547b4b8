//! `meshctl receipts list`

use control_api::{Account, Accounts, AttoSmt, Role};

use crate::commands::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::{Column, Output, left, right, table};

const COLUMNS: [Column; 11] = [
    left("PEER"),
    left("NODE ID"),
    left("THIS NODE IS"),
    right("EPOCH"),
    right("SEQ"),
    right("UP"),
    right("DOWN"),
    right("UNSIGNED"),
    right("CREDIT"),
    right("SMT/MiB"),
    right("SMT"),
];

pub(in crate::commands) fn run(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    output.show(&daemon.connect()?.receipts()?, text)
}

fn text(result: &Accounts) -> String {
    let mut text = table(COLUMNS, result.accounts.iter().map(row), "No accounts yet.");
    for cheat in result.accounts.iter().filter(|account| account.equivocated) {
        text.push_str(&format!(
            "\nThe consumer in the account with {} signed two different receipts of one number: \
             an export holds the proof.\n",
            cheat.node_id.short(),
        ));
    }
    text
}

fn row(account: &Account) -> [String; COLUMNS.len()] {
    let earlier = account.earlier_amount_atto.atto();
    let total = AttoSmt::new(account.amount_atto.atto().saturating_add(earlier));
    let role = match account.role {
        Role::Provider => "provider",
        Role::Consumer => "consumer",
    };
    [
        format::name(account.name.as_deref()),
        account.node_id.short(),
        role.to_owned(),
        account.epoch.to_string(),
        account.seq.to_string(),
        format::bytes(account.bytes_up),
        format::bytes(account.bytes_down),
        format::bytes(account.unsigned_bytes),
        format::or_dash(account.credit_bytes, format::bytes),
        format::or_dash(account.price_atto_per_mib, format::smt),
        format::smt(total),
    ]
}
