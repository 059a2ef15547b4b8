//! The router through its public API, in virtual time, with a few routers on a shared medium.

mod afar;
mod authentication;
mod crowds;
mod doubles;
mod failover;
mod gateways;
mod interleavings;
mod links;
mod liveness;
mod map;
mod net;
mod packets;
mod prefixes;
mod prices;
mod records;
mod restarts;
mod updates;
mod versions;
