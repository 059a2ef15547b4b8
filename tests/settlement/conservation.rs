//! No SMT appears, and no cheque bounces: what `redeemd/tests/conservation.rs` tries with SQLite, with PostgreSQL.

#[path = "../../redeemd/tests/model/mod.rs"]
mod model;

use anyhow::Result;
use libtest_mimic::Trial;
use mesh_tests::harness;

use crate::valley::Database;

const CASES: u32 = 8;

pub(crate) fn tests() -> Vec<Trial> {
    vec![harness::plain(
        "no_smt_appears_and_no_cheque_bounces_in_postgres",
        conserved,
    )]
}

#[expect(
    clippy::unwrap_used,
    reason = "as the model: it panics where something does not hold"
)]
fn conserved() -> Result<()> {
    model::holds(CASES, || Database::Postgres.create().unwrap());
    Ok(())
}
