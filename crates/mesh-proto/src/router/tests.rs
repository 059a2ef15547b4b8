//! The router through its public API, in virtual time, with a few routers on a shared medium.

mod gateways;
mod interleavings;
mod links;
mod net;
mod ogms;
mod packets;
mod records;
mod restarts;
