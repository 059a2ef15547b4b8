//! Who owes whom, in the words of `control-api`.

use std::collections::BTreeSet;
use std::time::Instant;

use control_api::{
    Account, AccountDetails, Accounts, Answer, AttoSmt, CarriedFile, CarriedFiles, Hold, Imported,
    Kept, KeptAs, MAX_CHUNK_BYTES, MAX_IMPORT_CHUNK_BYTES, NodeAccounts, PartyRef, Proof,
    ReceiptEntry, ReceiptsChunk, Refusal, RefusalReason, Role, RpcError, SCHEMA, Standing, Stats,
    StatsHour,
};
use mesh_proto::NodeId;
use receipts::{AccountView, Equivocation, Party, ReceiptView, Refused};
use tokio::sync::oneshot;

use super::answers::{View, name};
use crate::carried::{self, Carried, CarriedError, Progress};

/// As many digits of an id name a node.
const LEAST_DIGITS: usize = 8;

impl View<'_> {
    pub(super) fn accounts(&self) -> Accounts {
        let accounts = self.ledger.accounts();
        let mut accounts: Vec<Account> = accounts.map(|it| self.account(&it)).collect();
        accounts.sort_by_cached_key(|it| {
            let peer = (it.name.is_none(), it.name.clone(), it.node_id);
            (peer, it.role, place_of(&it.gateway))
        });
        Accounts {
            schema: SCHEMA,
            accounts,
        }
    }

    fn account(&self, account: &AccountView) -> Account {
        let PartyRef { node_id, name } = self.party(account.peer);
        Account {
            node_id,
            name,
            role: role(account.role),
            gateway: self.party(account.gateway),
            epoch: account.position.map_or(0, |position| position.epoch),
            seq: account.position.map_or(0, |position| position.seq.into()),
            bytes_up: account.signed.up_bytes,
            bytes_down: account.signed.down_bytes,
            service_s: account.signed.seconds.into(),
            earlier_bytes: saturating(account.earlier_bytes),
            unsigned_bytes: saturating(account.unsigned_bytes),
            unpaid_atto: account.unpaid.map(|unpaid| AttoSmt::new(unpaid.atto_smt())),
            disputed_bytes: saturating(account.disputed_bytes),
            amount_atto: AttoSmt::new(account.amount.atto_smt()),
            earlier_amount_atto: AttoSmt::new(account.earlier_amount.atto_smt()),
            price_atto_per_mib: account.price.map(|price| price.atto_smt_per_mib().into()),
            last_receipt: account.last_hash.map(|hash| (*hash.as_bytes()).into()),
            last_receipt_age_s: account.signed_at.map(|at| self.age_s(at)),
            last_refusal: account.last_refusal.map(reason),
            credit_bytes: account.credit_bytes,
            standing: standing(account.standing),
            held: account.held,
            exposure_bytes: saturating(account.exposure_bytes),
            window_bytes: account.window_bytes,
            equivocated: account.standing == receipts::Standing::Cheat,
        }
    }

    pub(crate) fn party(&self, party: Party) -> PartyRef {
        PartyRef {
            node_id: (*party.as_bytes()).into(),
            name: self.router.record(node(party).originator_id()).map(name),
        }
    }

    pub(super) fn node_accounts(&self, called: &str) -> Result<NodeAccounts, RpcError> {
        let peer = self.peer_called(called)?;
        let PartyRef { node_id, name } = self.party(peer);
        let mut result = NodeAccounts {
            schema: SCHEMA,
            node_id,
            originator_id: (*node(peer).originator_id().as_bytes()).into(),
            name,
            accounts: Vec::new(),
            holds: Vec::new(),
            proofs: Vec::new(),
        };
        for pair in self.ledger.pairs_with(peer) {
            let details = pair.accounts.iter().map(|it| self.details(it));
            result.accounts.extend(details);
            let hold = pair.hold.map(|hold| self.hold(pair.role, &hold));
            result.holds.extend(hold);
            result.proofs.extend(pair.proof.as_ref().map(proof));
        }
        let accounts = &mut result.accounts;
        accounts.sort_by_cached_key(|it| (it.account.role, place_of(&it.account.gateway)));
        Ok(result)
    }

    /// The neighbor with an account that goes by this name, or whose ids begin with these digits.
    /// Ids come first: any node may give itself the digits of another's id as its name.
    fn peer_called(&self, text: &str) -> Result<Party, RpcError> {
        let peers: BTreeSet<Party> = self.ledger.accounts().map(|it| it.peer).collect();
        let digits = text.to_ascii_lowercase();
        let is_id = |peer: &&Party| {
            let ids = [
                hex::encode(node(**peer).originator_id().as_bytes()),
                peer.to_string(),
            ];
            digits.len() >= LEAST_DIGITS && ids.iter().any(|id| id.starts_with(&digits))
        };
        let is_name = |peer: &&Party| self.party(**peer).name.as_deref() == Some(text);
        let mut found: Vec<Party> = peers.iter().filter(is_id).copied().collect();
        if found.is_empty() {
            found = peers.iter().filter(is_name).copied().collect();
        }
        match found.as_slice() {
            [] => Err(RpcError::not_found(format!("no account with {text:?}"))),
            [peer] => Ok(*peer),
            _ => {
                let message = format!("{text:?} may be several nodes: give digits of an id");
                Err(RpcError::invalid_params(message))
            }
        }
    }

    fn details(&self, details: &receipts::AccountDetails) -> AccountDetails {
        AccountDetails {
            account: self.account(&details.account),
            offer_age_s: details.offered_at.map(|at| self.age_s(at)),
            receipts: details.receipts.iter().rev().map(entry).collect(),
            refusal: details.refused.as_ref().map(|it| self.receipt_refusal(it)),
        }
    }

    fn receipt_refusal(&self, refused: &Refused) -> Refusal {
        let Refused { at, asked, refusal } = refused;
        Refusal {
            age_s: self.age_s(*at),
            reason: reason(refusal.reason),
            epoch: refusal.position.epoch,
            seq: refusal.position.seq.into(),
            asked_bytes_up: asked.up_bytes,
            asked_bytes_down: asked.down_bytes,
            asked_service_s: asked.seconds.into(),
            confirmed_bytes_up: refusal.confirmed.up_bytes,
            confirmed_bytes_down: refusal.confirmed.down_bytes,
            confirmed_service_s: refusal.confirmed.seconds.into(),
        }
    }

    fn hold(&self, of: receipts::Role, hold: &receipts::Hold) -> Hold {
        let age = |at: Instant| self.age_s(at);
        Hold {
            role: role(of),
            began_s: age(hold.since),
            ended_s: hold.until.map(age),
            standing: standing(hold.standing),
            exposure_bytes: saturating(hold.exposure_bytes),
            window_bytes: hold.window_bytes,
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let hours = self.history.hours(self.now).zip(0..);
        let hours = hours.map(|(hour, hours_ago)| StatsHour {
            hours_ago,
            carried_bytes: hour.carried_bytes,
            consumed_bytes: hour.consumed_bytes,
            earned_atto: AttoSmt::new(hour.earned_atto),
            paid_atto: AttoSmt::new(hour.paid_atto),
        });
        Stats {
            schema: SCHEMA,
            hours: hours.collect(),
        }
    }

    pub(super) fn carried_files(&self) -> Result<CarriedFiles, RpcError> {
        let files = self.carried.shelf().list().map_err(refuse)?.into_iter();
        let files = files.map(|(owner, bytes)| CarriedFile {
            owner: self.party(owner),
            bytes,
        });
        Ok(CarriedFiles {
            schema: SCHEMA,
            files: files.collect(),
        })
    }

    pub(super) fn carried_chunk(
        &self,
        owner: control_api::NodeId,
        offset: u64,
    ) -> Result<ReceiptsChunk, RpcError> {
        let owner = Party::new(*owner.as_bytes());
        let shelf = self.carried.shelf();
        let piece = shelf.read(owner, offset, MAX_CHUNK_BYTES).map_err(refuse)?;
        Ok(ReceiptsChunk {
            schema: SCHEMA,
            generation: piece.generation,
            offset,
            total_bytes: piece.total_bytes,
            data: piece.data.into(),
        })
    }
}

/// Takes in a piece of a file to be carried. The answer may come later.
pub(crate) fn import(
    carried: &mut Carried,
    place: (u64, u64),
    data: &[u8],
    answer: oneshot::Sender<Result<Answer, RpcError>>,
) {
    let respond = |outcome: Result<Answer, RpcError>| {
        // Whoever asked may be gone.
        let _ = answer.send(outcome);
    };
    if data.len() > MAX_IMPORT_CHUNK_BYTES {
        let message = format!("data: more than {MAX_IMPORT_CHUNK_BYTES} bytes");
        return respond(Err(RpcError::invalid_params(message)));
    }
    carried.import(place, data, |outcome| {
        respond(outcome.map(imported).map_err(refuse));
    });
}

fn imported(progress: Progress) -> Answer {
    let kept = |kept: carried::Kept| Kept {
        owner: (*kept.owner.as_bytes()).into(),
        receipts: kept.receipts as u64,
        outcome: match kept.outcome {
            carried::KeptAs::New => KeptAs::New,
            carried::KeptAs::Newer => KeptAs::Newer,
            carried::KeptAs::Held => KeptAs::Held,
        },
    };
    Imported {
        schema: SCHEMA,
        received_bytes: progress.received_bytes,
        kept: progress.kept.map(kept),
    }
    .into()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refuse(error: CarriedError) -> RpcError {
    let message = error.to_string();
    match error {
        CarriedError::NotFound(_) => RpcError::not_found(message),
        CarriedError::Length(_) | CarriedError::OutOfPlace => RpcError::invalid_params(message),
        CarriedError::Busy
        | CarriedError::Invalid(_)
        | CarriedError::ForeignNetwork(_)
        | CarriedError::Own
        | CarriedError::TooMany(_)
        | CarriedError::Differs(_)
        | CarriedError::Io { .. } => RpcError::failed(message),
    }
}

const fn node(party: Party) -> NodeId {
    NodeId::from_bytes(*party.as_bytes())
}

/// Where a node stands in a list: by name, those without one last.
fn place_of(party: &PartyRef) -> (bool, Option<String>, control_api::NodeId) {
    (party.name.is_none(), party.name.clone(), party.node_id)
}

fn proof(proof: &Equivocation) -> Proof {
    let (first, second) = proof.receipts();
    Proof {
        first: entry(&first.into()),
        second: entry(&second.into()),
    }
}

fn entry(receipt: &ReceiptView) -> ReceiptEntry {
    ReceiptEntry {
        epoch: receipt.position.epoch,
        seq: receipt.position.seq.into(),
        bytes_up: receipt.totals.up_bytes,
        bytes_down: receipt.totals.down_bytes,
        service_s: receipt.totals.seconds.into(),
        amount_atto: AttoSmt::new(receipt.amount.atto_smt()),
        hash: (*receipt.hash.as_bytes()).into(),
    }
}

const fn role(role: receipts::Role) -> Role {
    match role {
        receipts::Role::Provider => Role::Provider,
        receipts::Role::Consumer => Role::Consumer,
    }
}

const fn standing(standing: receipts::Standing) -> Standing {
    match standing {
        receipts::Standing::Known => Standing::Known,
        receipts::Standing::Stranger => Standing::Stranger,
        receipts::Standing::Cheat => Standing::Cheat,
    }
}

const fn reason(reason: receipts::RefusalReason) -> RefusalReason {
    match reason {
        receipts::RefusalReason::UnknownOffer => RefusalReason::UnknownOffer,
        receipts::RefusalReason::Ended => RefusalReason::Ended,
        receipts::RefusalReason::Unconfirmed => RefusalReason::Unconfirmed,
        receipts::RefusalReason::NothingNew => RefusalReason::NothingNew,
        receipts::RefusalReason::Price => RefusalReason::Price,
    }
}

fn saturating(bytes: u128) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
