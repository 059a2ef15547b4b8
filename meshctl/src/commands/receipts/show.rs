//! `meshctl receipts show NODE`

use control_api::{
    Account, AccountDetails, Hold, NodeAccounts, Proof, ReceiptEntry, Refusal, RefusalReason, Role,
    Standing,
};

use crate::commands::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::{Column, Output, SCREEN_COLUMNS, left, right, table};

/// The width of the labels on the left.
const LABEL_COLUMNS: usize = 12;

const COLUMNS: [Column; 6] = [
    right("PLACE"),
    right("UP"),
    right("DOWN"),
    right("SERVICE"),
    right("SMT"),
    left("HASH"),
];

pub(in crate::commands) fn run(
    daemon: &Daemon,
    output: Output,
    node: String,
) -> Result<(), Failure> {
    output.show(&daemon.connect()?.show_receipts(node)?, text)
}

fn text(result: &NodeAccounts) -> String {
    let who = format::name_or_id(result.name.as_deref(), result.node_id, 20);
    let mut text = format!(
        "{who}, in receipts {}, in the mesh {}\n",
        result.node_id.short(),
        result.originator_id.short()
    );
    for hold in &result.holds {
        text.push_str(&sentence(&held(&who, hold)));
    }
    for proof in &result.proofs {
        text.push_str(&cheated(&who, proof));
    }
    for details in &result.accounts {
        text.push_str(&account(&who, details));
    }
    text
}

/// Text in lines of the screen's width.
fn sentence(text: &str) -> String {
    let lines = format::wrap(text, SCREEN_COLUMNS);
    lines.into_iter().map(|line| line + "\n").collect()
}

fn held(who: &str, hold: &Hold) -> String {
    let began = format::seconds(hold.began_s);
    let when = match hold.ended_s {
        None => format!("since {began}"),
        Some(ended) => format!("from {began} to {} ago", format::seconds(ended)),
    };
    let exposure = format::bytes(hold.exposure_bytes);
    let window = format::bytes(hold.window_bytes);
    let (subject, is_held) = match (hold.role, hold.ended_s) {
        (Role::Provider, None) => (who, "is slowed down"),
        (Role::Provider, Some(_)) => (who, "was slowed down"),
        (Role::Consumer, None) => ("This node", "slows itself down"),
        (Role::Consumer, Some(_)) => ("This node", "slowed itself down"),
    };
    let why = match (hold.role, hold.standing) {
        (Role::Provider, Standing::Cheat) => {
            "it has signed two different receipts of one number, and gets no credit".to_owned()
        }
        (Role::Provider, Standing::Stranger) => format!(
            "it had never signed a receipt, and had had {exposure} where strangers get {window}"
        ),
        (Role::Provider, Standing::Known) => {
            format!("it had had {exposure} without signing for them, and gets {window}")
        }
        (Role::Consumer, Standing::Known | Standing::Stranger | Standing::Cheat) => format!(
            "it had had {exposure} of {who} without signing for them, so that {who} need not slow \
             it down, from {window} on"
        ),
    };
    format!("{subject} {is_held} {when}: {why}.")
}

fn cheated(who: &str, proof: &Proof) -> String {
    let claim = |receipt: &ReceiptEntry| {
        format!(
            "{} up, {} down, {} SMT ({})",
            format::bytes(receipt.bytes_up),
            format::bytes(receipt.bytes_down),
            format::smt(receipt.amount_atto),
            receipt.hash.short(),
        )
    };
    sentence(&format!(
        "{who} cheated: it signed two different receipts {}, one for {}, one for {}. An export \
         holds the proof.",
        place(&proof.first),
        claim(&proof.first),
        claim(&proof.second),
    ))
}

fn account(who: &str, details: &AccountDetails) -> String {
    let account = &details.account;
    let gateway = &account.gateway;
    let gateway = format::named(gateway.name.as_deref(), gateway.node_id);
    let heading = match account.role {
        Role::Provider => format!("This node carries for {who} to the gateway {gateway}"),
        Role::Consumer => format!("{who} carries for this node to the gateway {gateway}"),
    };
    let mut text = format!("\n{}", sentence(&heading));
    text.push_str(&line("Terms", &terms(details)));
    text.push_str(&line("Signed", &signed(account)));
    if account.earlier_bytes > 0 {
        let earlier = format!(
            "{} for {} SMT, in epochs before this one",
            format::bytes(account.earlier_bytes),
            format::smt(account.earlier_amount_atto)
        );
        text.push_str(&line("Earlier", &earlier));
    }
    text.push_str(&line("Unpaid", &unpaid(account)));
    if account.disputed_bytes > 0 {
        let disputed = format!(
            "{} were sent and, {who} says, never arrived",
            format::bytes(account.disputed_bytes)
        );
        text.push_str(&line("Disputed", &disputed));
    }
    if let Some(refusal) = &details.refusal {
        text.push_str(&line("Refused", &refused(who, account, refusal)));
    }
    if !details.receipts.is_empty() {
        text.push('\n');
        text.push_str(&table(COLUMNS, details.receipts.iter().map(row), ""));
    }
    text
}

fn terms(details: &AccountDetails) -> String {
    let account = &details.account;
    let (Some(price), Some(credit)) = (account.price_atto_per_mib, account.credit_bytes) else {
        return "none offered yet".to_owned();
    };
    let since = match details.offer_age_s {
        Some(age) => format!("since {}", format::seconds(age)),
        None => "from before meshd started".to_owned(),
    };
    format!(
        "{} SMT/MiB, {} may be unpaid; epoch {}, {since}",
        format::smt(price),
        format::bytes(credit),
        account.epoch
    )
}

fn signed(account: &Account) -> String {
    let last = match (account.last_receipt_age_s, account.last_receipt) {
        (Some(age), _) => format!("last {} ago", format::seconds(age)),
        (None, Some(_)) => "last before meshd started".to_owned(),
        (None, None) => return "nothing so far".to_owned(),
    };
    format!(
        "{} for {} SMT, {last}",
        format::bytes(account.bytes_up.saturating_add(account.bytes_down)),
        format::smt(account.amount_atto),
    )
}

fn unpaid(account: &Account) -> String {
    let price = match account.unpaid_atto {
        Some(amount) => format!("for {} SMT", format::smt(amount)),
        None => "at a price not known yet".to_owned(),
    };
    format!("{} {price}", format::bytes(account.unsigned_bytes))
}

fn refused(who: &str, account: &Account, refusal: &Refusal) -> String {
    let (provider, consumer) = match account.role {
        Role::Provider => ("this node", who),
        Role::Consumer => (who, "this node"),
    };
    let counted = |up, down, service| {
        format!(
            "{} up, {} down in {}",
            format::bytes(up),
            format::bytes(down),
            format::seconds(service)
        )
    };
    let reason = match refusal.reason {
        RefusalReason::UnknownOffer => format!("{consumer} did not have the offer"),
        RefusalReason::Ended => format!("{consumer} signs nothing more in epoch {}", refusal.epoch),
        RefusalReason::Unconfirmed => format!("{consumer} counted less"),
        RefusalReason::NothingNew => "nothing was new since the last receipt".to_owned(),
        RefusalReason::Price => format!("the price is too high for {consumer}"),
    };
    let since = match account.last_refusal {
        Some(_) => "",
        None => " It has signed since.",
    };
    let asked = refusal
        .asked_bytes_up
        .saturating_add(refusal.asked_bytes_down);
    let confirmed = refusal.confirmed_bytes_up;
    let confirmed = confirmed.saturating_add(refusal.confirmed_bytes_down);
    let difference = match asked.saturating_sub(confirmed) {
        0 => String::new(),
        less => format!(", {} less", format::bytes(less)),
    };
    format!(
        "{} ago, receipt {}.{}: {reason}. Asked for by {provider}: {}. Counted by {consumer}: \
         {}{difference}.{since}",
        format::seconds(refusal.age_s),
        refusal.epoch,
        refusal.seq,
        counted(
            refusal.asked_bytes_up,
            refusal.asked_bytes_down,
            refusal.asked_service_s
        ),
        counted(
            refusal.confirmed_bytes_up,
            refusal.confirmed_bytes_down,
            refusal.confirmed_service_s
        ),
    )
}

fn row(receipt: &ReceiptEntry) -> [String; COLUMNS.len()] {
    [
        place(receipt),
        format::bytes(receipt.bytes_up),
        format::bytes(receipt.bytes_down),
        format::seconds(receipt.service_s),
        format::smt(receipt.amount_atto),
        receipt.hash.short(),
    ]
}

fn place(receipt: &ReceiptEntry) -> String {
    format!("{}.{}", receipt.epoch, receipt.seq)
}

fn line(label: &str, text: &str) -> String {
    let wrapped = format::wrap(text, SCREEN_COLUMNS - LABEL_COLUMNS);
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    labels
        .zip(wrapped)
        .map(|(label, text)| format!("{label:<LABEL_COLUMNS$}{text}\n"))
        .collect()
}
