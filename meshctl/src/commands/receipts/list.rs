//! `meshctl receipts list`

use control_api::{Account, Accounts, AttoSmt, Role, Standing};

use crate::commands::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::{Column, Output, SCREEN_COLUMNS, left, right, table};
use crate::tsv::Layout;

const COLUMNS: [Column; 8] = [
    left("NEIGHBOR"),
    left("GATEWAY"),
    right("CARRIED"),
    right("SMT"),
    right("UNPAID"),
    right("SMT"),
    right("SIGNED"),
    left("TRUST"),
];

/// The longest names, where there is room for them; where there is not, as short as ids.
const NAME_CHARS: std::ops::RangeInclusive<usize> = 8..=20;

const LAYOUT: Layout = Layout {
    list: "accounts",
    columns: &[
        "node_id",
        "name",
        "role",
        "gateway.node_id",
        "gateway.name",
        "epoch",
        "seq",
        "bytes_up",
        "bytes_down",
        "service_s",
        "earlier_bytes",
        "unsigned_bytes",
        "unpaid_atto",
        "disputed_bytes",
        "amount_atto",
        "earlier_amount_atto",
        "price_atto_per_mib",
        "last_receipt",
        "last_receipt_age_s",
        "last_refusal",
        "credit_bytes",
        "standing",
        "held",
        "exposure_bytes",
        "window_bytes",
        "equivocated",
    ],
};

pub(in crate::commands) fn run(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    output.show_list(&daemon.connect()?.receipts()?, LAYOUT, text)
}

fn text(result: &Accounts) -> String {
    if result.accounts.is_empty() {
        return "No accounts yet.\n".to_owned();
    }
    let fits = |text: &String| {
        let mut lines = text.lines();
        lines.all(|line| line.chars().count() <= SCREEN_COLUMNS)
    };
    let mut tables = NAME_CHARS.rev().map(|limit| tables(result, limit));
    let tables = tables
        .find(fits)
        .unwrap_or_else(|| self::tables(result, *NAME_CHARS.start()));
    let legend = "UNPAID: carried and not signed for yet. SIGNED: how long ago for the last time.";
    format!("{tables}\n{legend}\n{}", notes(result))
}

fn tables(result: &Accounts, name_chars: usize) -> String {
    let table = |role, heading: &str| {
        let of_role = result.accounts.iter().filter(|it| it.role == role);
        let mut rows = of_role.map(|account| row(account, name_chars)).peekable();
        rows.peek()?;
        Some(format!("{heading}\n{}", table(COLUMNS, rows, "")))
    };
    let earning = table(
        Role::Provider,
        "This node carries for these neighbors, who pay it:",
    );
    let paying = table(
        Role::Consumer,
        "These neighbors carry for this node, which pays them:",
    );
    let tables: Vec<String> = earning.into_iter().chain(paying).collect();
    tables.join("\n")
}

fn row(account: &Account, name_chars: usize) -> [String; COLUMNS.len()] {
    let carried = [account.bytes_up, account.bytes_down, account.earlier_bytes];
    let earlier = account.earlier_amount_atto.atto();
    let amount = AttoSmt::new(account.amount_atto.atto().saturating_add(earlier));
    let gateway = &account.gateway;
    [
        format::name_or_id(account.name.as_deref(), account.node_id, name_chars),
        format::name_or_id(gateway.name.as_deref(), gateway.node_id, name_chars),
        format::short_bytes(carried.into_iter().fold(0, u64::saturating_add)),
        format::short_smt(amount),
        format::short_bytes(account.unsigned_bytes),
        format::or_dash(account.unpaid_atto, format::short_smt),
        signed(account),
        trust(account.standing).to_owned(),
    ]
}

/// How long ago the last receipt was signed.
fn signed(account: &Account) -> String {
    match (account.last_receipt_age_s, account.last_receipt) {
        (Some(age), _) => format::age(age),
        (None, Some(_)) => "earlier".to_owned(),
        (None, None) => "never".to_owned(),
    }
}

pub(super) const fn trust(standing: Standing) -> &'static str {
    match standing {
        Standing::Known => "known",
        Standing::Stranger => "stranger",
        Standing::Cheat => "cheat",
    }
}

/// What an operator should know of: once for each neighbor and role.
fn notes(result: &Accounts) -> String {
    let mut notes = Vec::new();
    for account in &result.accounts {
        if account.equivocated {
            notes.push(cheated(account));
        } else if account.held {
            notes.push(held(account));
        }
    }
    notes.dedup();
    let lines = notes.iter().flat_map(|it| format::wrap(it, SCREEN_COLUMNS));
    lines.map(|line| format!("{line}\n")).collect()
}

fn cheated(account: &Account) -> String {
    let slowed_down = match account.held {
        true => ", and is slowed down",
        false => "",
    };
    format!(
        "{} signed two different receipts of one number{slowed_down}. The proof: meshctl receipts \
         show {}",
        format::named(account.name.as_deref(), account.node_id),
        account.node_id.short(),
    )
}

fn held(account: &Account) -> String {
    let who = format::named(account.name.as_deref(), account.node_id);
    let exposure = format::bytes(account.exposure_bytes);
    let window = format::bytes(account.window_bytes.unwrap_or(0));
    match account.role {
        Role::Provider => format!(
            "{who} is slowed down: it has had {exposure} without signing for them, and may have \
             {window}."
        ),
        Role::Consumer => format!(
            "This node slows itself down: it has had {exposure} of {who} without signing for them, \
             and may have {window}."
        ),
    }
}
