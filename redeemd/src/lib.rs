//! Settlement: turns receipts into cheques for SMT.
pub mod claim;
pub mod room;
pub mod store;
pub mod tariff;
