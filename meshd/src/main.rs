//! meshd
fn main() {}
