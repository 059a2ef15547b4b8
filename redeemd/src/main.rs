//! redeemd
fn main() {}
