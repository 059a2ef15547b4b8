//! Whatever is brought, in whatever order, and whatever payers do meanwhile: no SMT appears, none is lost, and no
//! cheque bounces. With SQLite; `tests/settlement` runs the same with PostgreSQL.

mod model;

use std::cell::Cell;

use tempfile::TempDir;

#[test]
fn no_smt_appears_and_no_cheque_bounces() {
    let directory = TempDir::new().unwrap();
    let number = Cell::new(0);
    let empty_database = || {
        number.set(number.get() + 1);
        let file = directory.path().join(format!("{}.db", number.get()));
        format!("sqlite:{}", file.display())
    };
    model::holds(32, empty_database);
}
