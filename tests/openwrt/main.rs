//! What runs on OpenWrt beside meshd: the configuration that is rendered from UCI, the service, and what
//! happens once after installation. The shell is OpenWrt's, BusyBox; what OpenWrt itself brings is in
//! `stubs`; the rendered configuration goes through the real `meshd --check`, in a network namespace with
//! the devices it names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod cases;
mod defaults;
mod package;
mod router;
mod schema;
mod service;
