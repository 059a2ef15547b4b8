//! Which account a node belongs to: only what both have signed, and the latest.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::redeemd::Redeemd;
use redeem_api::{Kind, Problem, RegistrationAnswer, RegistrationRequest, Signature64};

use crate::valley::{Person, Valley, node, with_both};

pub(crate) fn tests() -> Vec<Trial> {
    with_both(
        "a_node_is_of_the_account_that_both_signed_last",
        registrations,
    )
}

fn registrations(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let (relay, other) = (Person::new("relay")?, Person::new("other")?);
    let missing = service.get(&format!("/v1/nodes/{}", relay.id()))?;
    ensure!(missing.status == 404, "{}", missing.text());

    let first = valley.registration(&relay, 5);
    for _ in 0..2 {
        let answer: RegistrationAnswer = service.post("/v1/registrations", &first)?.json()?;
        ensure!(answer.account == relay.account(), "{answer:?}");
    }
    // One that was signed before, one of the same number for another account.
    let older = valley.registration(&relay, 4);
    let twin = valley.registration_to(&relay.node, &other.wallet, 5);
    for outdated in [older, twin] {
        refused(&service, &outdated, 409, Kind::Outdated)?;
    }
    let known = node(&service, &relay)?;
    ensure!((known.account, known.sequence) == (Some(relay.account()), Some(5)));

    let later = valley.registration_to(&relay.node, &other.wallet, 6);
    let answer: RegistrationAnswer = service.post("/v1/registrations", &later)?.json()?;
    ensure!(answer.account == other.account(), "{answer:?}");
    // Sent again by somebody who has kept it.
    refused(&service, &first, 409, Kind::Outdated)?;
    ensure!(node(&service, &relay)?.account == Some(other.account()));
    forged(valley, &service, &relay, &other)?;
    service.stop()
}

fn forged(valley: &Valley, service: &Redeemd, relay: &Person, other: &Person) -> Result<()> {
    let good = valley.registration(relay, 7);
    let others = valley.registration(other, 7);
    let node_signature = others.node_signature;
    let account_signature = others.account_signature;
    // The neutral element: whoever has no key signs with it, unless weak keys are refused.
    let (mut weak_key, mut weak_signature) = ([0; 32], [0; 64]);
    weak_key[0] = 1;
    weak_signature[0] = 1;
    let forged = [
        RegistrationRequest {
            node_signature,
            ..good
        },
        RegistrationRequest {
            account_signature,
            ..good
        },
        RegistrationRequest {
            account: other.account(),
            ..good
        },
        RegistrationRequest {
            sequence: 8,
            ..good
        },
        RegistrationRequest {
            node: control_api::NodeId::new(weak_key),
            node_signature: Signature64(weak_signature),
            ..good
        },
    ];
    for forged in &forged {
        refused(service, forged, 422, Kind::Unverified)?;
    }
    for sequence in [0, 1 << 63] {
        refused(
            service,
            &valley.registration(relay, sequence),
            400,
            Kind::Invalid,
        )?;
    }
    Ok(())
}

fn refused(
    service: &Redeemd,
    request: &RegistrationRequest,
    status: u16,
    kind: Kind,
) -> Result<()> {
    let answer = service.post("/v1/registrations", request)?;
    let problem: Problem = serde_json::from_slice(&answer.body)?;
    ensure!(
        (answer.status, problem.kind) == (status, kind),
        "{problem:?}"
    );
    Ok(())
}
