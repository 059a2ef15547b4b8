//! Those of `receipts.*`.

use control_api::{
    Account, AccountDetails, Accounts, AttoSmt, CarriedFile, CarriedFiles, HexBytes, Hold,
    Imported, Kept, KeptAs, NodeAccounts, PartyRef, Proof, ReceiptEntry, ReceiptHash,
    ReceiptsChunk, Refusal, RefusalReason, Role, SCHEMA, Standing, Stats, StatsHour,
};

use super::{assert_golden, node_id, originator_id};

fn party(byte: u8, name: &str) -> PartyRef {
    PartyRef {
        node_id: node_id(byte),
        name: Some(name.into()),
    }
}

/// One that has earned from a cheat.
fn earning() -> Account {
    Account {
        node_id: node_id(0x22),
        name: Some("router-2".into()),
        role: Role::Provider,
        gateway: party(0x55, "router-5"),
        epoch: 3,
        seq: 41,
        bytes_up: 52_428_800,
        bytes_down: 1_073_741_824,
        service_s: 3600,
        earlier_bytes: 3_221_225_472,
        unsigned_bytes: 262_144,
        unpaid_atto: Some(AttoSmt::new(375_000_000_000_000)),
        disputed_bytes: 4_096,
        amount_atto: AttoSmt::new(1_611_000_000_000_000_000),
        earlier_amount_atto: AttoSmt::new(4_608_000_000_000_000_000),
        price_atto_per_mib: Some(AttoSmt::new(1_500_000_000_000_000)),
        last_receipt: Some(ReceiptHash::new([0xab; 28])),
        last_receipt_age_s: Some(200),
        last_refusal: None,
        credit_bytes: Some(8_388_608),
        standing: Standing::Cheat,
        held: true,
        exposure_bytes: 262_144,
        window_bytes: Some(0),
        equivocated: true,
    }
}

/// One with a neighbor of which little is known.
fn fresh() -> Account {
    Account {
        node_id: node_id(0x33),
        name: None,
        role: Role::Consumer,
        gateway: PartyRef {
            node_id: node_id(0x66),
            name: None,
        },
        epoch: 0,
        seq: 0,
        bytes_up: 0,
        bytes_down: 0,
        service_s: 0,
        earlier_bytes: 0,
        unsigned_bytes: 900,
        unpaid_atto: None,
        disputed_bytes: 0,
        amount_atto: AttoSmt::default(),
        earlier_amount_atto: AttoSmt::default(),
        price_atto_per_mib: None,
        last_receipt: None,
        last_receipt_age_s: None,
        last_refusal: None,
        credit_bytes: None,
        standing: Standing::Stranger,
        held: false,
        exposure_bytes: 0,
        window_bytes: None,
        equivocated: false,
    }
}

/// One that this node pays, slowly.
fn paying() -> Account {
    Account {
        node_id: node_id(0x44),
        name: Some("router-4".into()),
        role: Role::Consumer,
        gateway: party(0x44, "router-4"),
        epoch: 3,
        seq: 7,
        unsigned_bytes: 6_606_028,
        unpaid_atto: Some(AttoSmt::new(6_300_000_000_000)),
        disputed_bytes: 0,
        amount_atto: AttoSmt::new(1_074_000_000_000_000),
        earlier_amount_atto: AttoSmt::default(),
        earlier_bytes: 0,
        price_atto_per_mib: Some(AttoSmt::new(1_000_000_000_000)),
        last_receipt_age_s: None,
        last_refusal: Some(RefusalReason::Unconfirmed),
        standing: Standing::Known,
        exposure_bytes: 6_606_028,
        window_bytes: Some(6_291_456),
        equivocated: false,
        ..earning()
    }
}

#[test]
fn accounts() {
    let result = Accounts {
        schema: SCHEMA,
        accounts: vec![earning(), paying(), fresh()],
    };

    assert_golden("receipts-list.json", &result);
}

fn entry(seq: u64, bytes_down: u64, hash: u8) -> ReceiptEntry {
    ReceiptEntry {
        epoch: 3,
        seq,
        bytes_up: 52_428_800,
        bytes_down,
        service_s: 3600,
        amount_atto: AttoSmt::new(1_611_000_000_000_000_000),
        hash: ReceiptHash::new([hash; 28]),
    }
}

/// A neighbor of which everything bad is known.
#[test]
fn node_accounts_of_a_cheat() {
    let refusal = Refusal {
        age_s: 903,
        reason: RefusalReason::Unconfirmed,
        epoch: 3,
        seq: 41,
        asked_bytes_up: 52_428_800,
        asked_bytes_down: 1_073_745_920,
        asked_service_s: 3600,
        confirmed_bytes_up: 52_428_800,
        confirmed_bytes_down: 1_073_741_824,
        confirmed_service_s: 3611,
    };
    let details = AccountDetails {
        account: earning(),
        offer_age_s: Some(7300),
        receipts: vec![
            entry(41, 1_073_741_824, 0xab),
            entry(40, 1_071_644_672, 0xcd),
        ],
        refusal: Some(refusal),
    };
    let hold = Hold {
        role: Role::Provider,
        began_s: 100,
        ended_s: None,
        standing: Standing::Cheat,
        exposure_bytes: 0,
        window_bytes: 0,
    };
    let proof = Proof {
        first: entry(40, 1_071_644_672, 0xcd),
        second: entry(40, 1_069_547_520, 0xee),
    };
    let result = NodeAccounts {
        schema: SCHEMA,
        node_id: node_id(0x22),
        originator_id: originator_id(0x22),
        name: Some("router-2".into()),
        accounts: vec![details],
        holds: vec![hold],
        proofs: vec![proof],
    };

    assert_golden("receipts-show-cheat.json", &result);
}

/// One account in each role, and both were held.
#[test]
fn node_accounts_of_both_roles() {
    let provided = AccountDetails {
        account: Account {
            role: Role::Provider,
            standing: Standing::Stranger,
            disputed_bytes: 0,
            ..fresh()
        },
        offer_age_s: None,
        receipts: vec![],
        refusal: None,
    };
    let consumed = AccountDetails {
        account: Account {
            node_id: node_id(0x33),
            name: None,
            held: false,
            ..paying()
        },
        offer_age_s: None,
        receipts: vec![entry(7, 1_073_741_824, 0xab)],
        refusal: Some(Refusal {
            age_s: 12,
            reason: RefusalReason::Price,
            epoch: 3,
            seq: 8,
            asked_bytes_up: 52_428_800,
            asked_bytes_down: 1_073_745_920,
            asked_service_s: 3600,
            confirmed_bytes_up: 52_428_800,
            confirmed_bytes_down: 1_073_741_824,
            confirmed_service_s: 3600,
        }),
    };
    let hold = |role, standing, ended_s| Hold {
        role,
        began_s: 4000,
        ended_s,
        standing,
        exposure_bytes: 1_048_700,
        window_bytes: 1_048_576,
    };
    let result = NodeAccounts {
        schema: SCHEMA,
        node_id: node_id(0x33),
        originator_id: originator_id(0x33),
        name: None,
        accounts: vec![provided, consumed],
        holds: vec![
            hold(Role::Provider, Standing::Stranger, None),
            hold(Role::Consumer, Standing::Known, Some(3700)),
        ],
        proofs: vec![],
    };

    assert_golden("receipts-show-both.json", &result);
}

/// A week with days and nights, in which nothing was paid.
#[test]
fn stats() {
    let hour = |hours_ago: u32| {
        let by_day = u64::from(hours_ago % 24).abs_diff(12);
        StatsHour {
            hours_ago,
            carried_bytes: by_day * 10_485_760,
            consumed_bytes: u64::from(hours_ago == 30) * 123_456_789,
            earned_atto: AttoSmt::new(u128::from(by_day) * 10_000_000_000_000_000),
            paid_atto: AttoSmt::default(),
        }
    };
    let result = Stats {
        schema: SCHEMA,
        hours: (0..168).map(hour).collect(),
    };

    assert_golden("receipts-stats.json", &result);
}

#[test]
fn carried_files() {
    let file = |owner, bytes| CarriedFile { owner, bytes };
    let nameless = PartyRef {
        name: None,
        ..party(0x66, "")
    };
    let result = CarriedFiles {
        schema: SCHEMA,
        files: vec![file(party(0x22, "router-2"), 1612), file(nameless, 640)],
    };

    assert_golden("receipts-carried.json", &result);
}

#[test]
fn imported() {
    let result = Imported {
        schema: SCHEMA,
        received_bytes: 1612,
        kept: Some(Kept {
            owner: node_id(0x22),
            receipts: 3,
            outcome: KeptAs::Newer,
        }),
    };

    assert_golden("receipts-import.json", &result);
}

#[test]
fn receipts_chunk() {
    let result = ReceiptsChunk {
        schema: SCHEMA,
        generation: 2,
        offset: 65_536,
        total_bytes: 65_539,
        data: HexBytes::from(vec![0x00, 0x7f, 0xff]),
    };

    assert_golden("receipts-export.json", &result);
}
