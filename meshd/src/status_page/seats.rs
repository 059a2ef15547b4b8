//! How many connections there may be, and whose has to go.
//!
//! Whoever connects gets in, at the cost of who has been waiting longest without asking for anything. A browser
//! asks in the packet that completes its connection, so that is never it, however many sit there in silence.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Connections in all.
pub(super) const MOST: usize = 32;
/// Connections of one host.
pub(super) const MOST_OF_ONE: usize = 4;
/// How long a connection that is being answered keeps its seat from others: much longer than it takes anybody
/// who reads what is sent.
const GRACE: Duration = Duration::from_secs(5);

/// All seats.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// In the order in which they came.
    seats: BTreeMap<u64, Sitting>,
}

#[derive(Debug)]
struct Sitting {
    host: IpAddr,
    since: Instant,
    doing: Doing,
    out: Arc<Notify>,
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It waits for a request.
    Waiting,
    /// An answer is being made.
    Answering,
    /// It is being written.
    Writing,
}

/// One of them, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    number: u64,
    out: Arc<Notify>,
}

impl Seats {
    /// A seat for who comes from this address, if need be one that somebody has to leave. Nothing if all who
    /// could are being answered.
    pub(super) fn take(&self, from: IpAddr, now: Instant) -> Option<Seat> {
        let host = host_of(from);
        let mut taken = self.lock();
        let of_host = |sitting: &Sitting| sitting.host == host;
        if taken.seats.values().filter(|it| of_host(it)).count() >= MOST_OF_ONE {
            taken.vacate(now, of_host)?;
        } else if taken.seats.len() >= MOST {
            taken.vacate(now, |_| true)?;
        }
        let (number, out) = (taken.next, Arc::new(Notify::new()));
        taken.next += 1;
        let sitting = Sitting {
            host,
            since: now,
            doing: Doing::Waiting,
            out: Arc::clone(&out),
        };
        taken.seats.insert(number, sitting);
        drop(taken);
        Some(Seat {
            seats: self.clone(),
            number,
            out,
        })
    }

    /// What is held never panics, so it cannot be poisoned.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn vacate(&mut self, now: Instant, is_meant: impl Fn(&Sitting) -> bool) -> Option<()> {
        let may_go = |it: &Sitting| it.doing == Doing::Waiting || now >= it.since + GRACE;
        let mut oldest = self.seats.iter();
        let (&number, _) = oldest.find(|(_, it)| is_meant(it) && may_go(it))?;
        let gone = self.seats.remove(&number)?;
        gone.out.notify_one();
        Some(())
    }
}

impl Seat {
    /// Completes when somebody else has the seat.
    pub(super) async fn lost(&self) {
        self.out.notified().await;
    }

    pub(super) fn set(&self, doing: Doing) {
        if let Some(sitting) = self.seats.lock().seats.get_mut(&self.number) {
            sitting.doing = doing;
        }
    }

    /// Nothing is left to be written. While an answer is being made that means nothing.
    pub(super) fn flushed(&self) {
        if let Some(sitting) = self.seats.lock().seats.get_mut(&self.number)
            && sitting.doing == Doing::Writing
        {
            sitting.doing = Doing::Waiting;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().seats.remove(&self.number);
    }
}

/// Whoever has an IPv6 address has a whole /64 of them, but for link-local ones.
fn host_of(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) if address.is_unicast_link_local() => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u8) -> IpAddr {
        [192, 168, 1, number].into()
    }

    fn is_lost(seat: &Seat) -> bool {
        !seat.seats.lock().seats.contains_key(&seat.number)
    }

    #[test]
    fn a_newcomer_takes_the_seat_of_who_has_waited_longest() {
        let (seats, now) = (Seats::default(), Instant::now());
        let all: Vec<Seat> = (0..u8::try_from(MOST).unwrap())
            .map(|number| seats.take(host(number), now).unwrap())
            .collect();
        all[0].set(Doing::Answering);
        let newcomer = seats.take(host(100), now).unwrap();
        let lost: Vec<usize> = (0..all.len()).filter(|at| is_lost(&all[*at])).collect();
        assert_eq!(lost, [1]);
        assert!(!is_lost(&newcomer));
    }

    #[test]
    fn one_host_takes_seats_from_itself_only() {
        let (seats, now) = (Seats::default(), Instant::now());
        let other = seats.take(host(1), now).unwrap();
        let mut own: Vec<Seat> = Vec::new();
        for _ in 0..100 {
            own.push(seats.take(host(2), now).unwrap());
        }
        assert!(!is_lost(&other));
        assert_eq!(own.iter().filter(|it| !is_lost(it)).count(), MOST_OF_ONE);
        assert!(own.iter().take(96).all(is_lost));
    }

    #[test]
    fn answers_are_not_cut_short_unless_they_take_too_long() {
        let (seats, now) = (Seats::default(), Instant::now());
        let own: Vec<Seat> = (0..MOST_OF_ONE)
            .map(|_| seats.take(host(1), now).unwrap())
            .collect();
        own.iter().for_each(|it| it.set(Doing::Writing));
        assert!(seats.take(host(1), now).is_none());
        assert!(seats.take(host(1), now + GRACE).is_some());
        assert!(is_lost(&own[0]));
    }

    #[test]
    fn what_is_flushed_before_there_is_an_answer_is_none() {
        let (seats, now) = (Seats::default(), Instant::now());
        let seat = seats.take(host(1), now).unwrap();
        let doing = || seats.lock().seats.values().next().unwrap().doing;
        seat.set(Doing::Answering);
        seat.flushed();
        assert_eq!(doing(), Doing::Answering);
        seat.set(Doing::Writing);
        seat.flushed();
        assert_eq!(doing(), Doing::Waiting);
    }

    #[test]
    fn a_seat_is_free_again_when_its_connection_ends() {
        let (seats, now) = (Seats::default(), Instant::now());
        drop(seats.take(host(1), now));
        assert!(seats.lock().seats.is_empty());
        let left = seats.take(host(1), now).unwrap();
        for _ in 0..MOST_OF_ONE {
            drop(seats.take(host(1), now));
        }
        assert!(!is_lost(&left));
    }

    #[test]
    fn an_ipv6_host_is_its_network() {
        let host = |text: &str| host_of(text.parse().unwrap()).to_string();
        assert_eq!(host("fd12::1:2:3:4"), "fd12::");
        assert_eq!(host("fe80::1:2"), "fe80::1:2");
        assert_eq!(host("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
