//! Whether a neighbor is there: probes and their answers.
//!
//! A link is used only after an answer came back: it proves that unicasts pass in both
//! directions, as long as packets may be, that the neighbor holds its key, and that it speaks now, not
//! in a recording.
//! After that it costs nothing until traffic flows over it; then something must be heard in
//! every [`PROBE_INTERVAL`]. Whatever is heard counts, so of two neighbors that watch each other
//! one probes and the other listens. A link without traffic is probed when there is a doubt, until
//! anything is heard.

use std::time::{Duration, Instant};

use super::link_quality::{History, unlikely_misses};

/// How long a neighbor that carries traffic may be silent before it is probed.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// How long the last answer is waited for.
const PATIENCE: Duration = Duration::from_millis(60);
/// How long after the last traffic a link is watched.
const WATCH_TIME: Duration = Duration::from_secs(2);
/// How long after the last probe that had traffic as its reason the other end watches as well.
const ALONG_TIME: Duration = Duration::from_secs(1);
/// By how much at most the next probe is put off when something was heard.
pub(super) const SLACK: Duration = Duration::from_millis(30);
/// Between the first tries to have a new link confirmed; it doubles up to
/// [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(2);
/// Unanswered probes that a link without loss may have: unicasts are repeated by the radio, so
/// each is four frames.
const MIN_MISSES: u32 = 3;
/// Probes that could not be answered in time if the neighbor was busy for this many of them.
const MAX_MISSES: u32 = 8;
/// How likely a living link may be given up by chance, in parts per million per probe: with ten
/// probes a second, once in a day of traffic without a break.
const GIVE_UP_PPM: u64 = 1;
/// How long a neighbor whose daemon does not run is waited for: a restart takes less, and nobody
/// can prove that the word of a kernel, which carries no signature, is not made up.
const ABSENCE: Duration = Duration::from_secs(5);
/// Between probes to such a neighbor; kernels answer about one a second (RFC 4443 §2.4 f).
const ABSENT_PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// Answers to this many of the last probes are taken.
const NONCES: u32 = 8;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    /// Nothing yet.
    Wait,
    /// Send a probe with this nonce.
    Probe {
        /// What the answer must repeat.
        nonce: u32,
        /// Whether traffic is the reason.
        traffic: bool,
        /// Whether it is as long as packets may be.
        long: bool,
    },
    /// The neighbor does not answer: give it up.
    Lost,
}

/// The watch over one link.
#[derive(Debug)]
pub(super) struct Liveness {
    confirmed: bool,
    /// Of the last short probe before that.
    short: Option<u32>,
    /// Short probes were answered, and no long one.
    narrow: bool,
    /// Until when traffic is assumed to flow.
    watched_until: Option<Instant>,
    /// Until when the neighbor's probes let us assume so.
    along_until: Option<Instant>,
    /// Somebody misses the neighbor, and it has not been heard since.
    doubted: bool,
    /// When the next probe is due, if any is.
    next: Instant,
    nonce: u32,
    sent: u32,
    unanswered: u32,
    /// When the first probe was sent that is not answered.
    asked_at: Option<Instant>,
    /// The radio's driver had no acknowledgement since then either.
    silence_confirmed: bool,
    /// Since when the neighbor's daemon does not run.
    absent_since: Option<Instant>,
    history: History,
}

impl Liveness {
    /// A new link, whose nonces begin at a random one.
    pub(super) const fn new(now: Instant, nonce: u32) -> Self {
        Self {
            confirmed: false,
            short: None,
            narrow: false,
            watched_until: None,
            along_until: None,
            doubted: false,
            next: now,
            nonce,
            sent: 0,
            unanswered: 0,
            asked_at: None,
            silence_confirmed: false,
            absent_since: None,
            history: History::new(),
        }
    }

    pub(super) const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Whether the neighbor answers, but packets as long as they may be do not get there and back: the
    /// link is not used.
    pub(super) const fn is_narrow(&self) -> bool {
        self.narrow && !self.confirmed
    }

    /// Whether the neighbor has to give signs of life. One that was asked has to answer, also if
    /// the reason to ask is gone meanwhile.
    pub(super) fn is_watched(&self, now: Instant) -> bool {
        let is_asked = self.doubted || self.unanswered > 0;
        is_asked || self.carries(now) || self.along_until.is_some_and(|until| now < until)
    }

    fn carries(&self, now: Instant) -> bool {
        self.watched_until.is_some_and(|until| now < until)
    }

    /// When [`Liveness::watch`] has something to do next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let is_watched = self.doubted || self.watched_until.or(self.along_until).is_some();
        (!self.confirmed || is_watched).then_some(self.next)
    }

    /// Traffic flows over the link, or is about to.
    pub(super) fn carry(&mut self, now: Instant) {
        if !self.is_watched(now) {
            self.next = self.next.min(now);
        }
        self.watched_until = Some(now + WATCH_TIME);
    }

    /// The neighbor watches us because of traffic: then we watch it as well, for when it falls
    /// silent. Our probes for this reason alone do not make it watch us in turn.
    pub(super) fn carry_along(&mut self, now: Instant) {
        if !self.is_watched(now) {
            self.next = now + PROBE_INTERVAL;
        }
        self.along_until = Some(now + ALONG_TIME);
    }

    /// Something was heard. `slack` is random, so that of two neighbors who watch each other one
    /// falls behind and only listens.
    pub(super) fn hear(&mut self, now: Instant, slack: Duration) {
        if !self.confirmed {
            return;
        }
        if self.unanswered > 0 {
            // The last probe may just be answered.
            self.history.note(self.unanswered - 1);
        }
        self.unanswered = 0;
        self.silence_confirmed = false;
        self.absent_since = None;
        self.doubted = false;
        self.next = now + PROBE_INTERVAL + slack;
    }

    /// Something of the neighbor is missing, here or where somebody else is: looks at once.
    pub(super) fn doubt(&mut self, now: Instant) {
        if !self.is_watched(now) {
            self.next = now;
        }
        self.doubted = true;
    }

    /// The neighbor's kernel answers in place of its daemon.
    pub(super) fn excuse(&mut self, now: Instant) {
        let since = *self.absent_since.get_or_insert(now);
        if now < since + ABSENCE {
            self.unanswered = 0;
            self.silence_confirmed = false;
            self.next = now + ABSENT_PROBE_INTERVAL;
        }
    }

    /// Whether the probe just sent is the first after one that was not answered in time.
    pub(super) const fn has_just_missed_one(&self) -> bool {
        self.confirmed && self.unanswered == 2
    }

    /// The radio gave up frames to the neighbor, of which it has heard none for `inactive`, not
    /// even an acknowledgement. If that goes back to before the first unanswered probe, it is not
    /// the neighbor's daemon that was busy, and one answer less is waited for.
    pub(super) fn confirm_silence(&mut self, now: Instant, inactive: Duration) {
        let asked_at = self.asked_at.filter(|_| self.unanswered > 0);
        if asked_at.is_some_and(|at| now.checked_sub(inactive).is_some_and(|heard| heard < at)) {
            self.silence_confirmed = true;
            self.next = self.next.min(now + PATIENCE);
        }
    }

    /// An answer came. Returns whether it is one to a probe of ours that confirms the link.
    pub(super) fn confirm(&mut self, nonce: u32) -> bool {
        if !self.confirmed && self.short == Some(nonce) {
            self.narrow = true;
            return false;
        }
        let age = self.nonce.wrapping_sub(nonce);
        let ours = self.sent > 0 && age < NONCES.min(self.sent);
        self.confirmed |= ours;
        ours
    }

    /// Time has come to [`Liveness::deadline`]. `broadcast_loss_ppm` is what the link usually
    /// loses of what is sent once.
    pub(super) fn watch(&mut self, now: Instant, broadcast_loss_ppm: u64) -> Watch {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Watch::Wait;
        }
        if !self.confirmed {
            let retry = FIRST_RETRY * (1 << self.sent.min(5));
            return self.probe(now, retry.min(LONGEST_RETRY));
        }
        if !self.is_watched(now) {
            (self.watched_until, self.along_until) = (None, None);
            self.unanswered = 0;
            return Watch::Wait;
        }
        let allowed = self.misses_allowed(broadcast_loss_ppm) - u32::from(self.silence_confirmed);
        if self.unanswered >= allowed {
            return Watch::Lost;
        }
        if self.unanswered == 0 {
            self.asked_at = Some(now);
        }
        self.unanswered += 1;
        let wait = match self.unanswered < allowed {
            true => PROBE_INTERVAL,
            false => PATIENCE,
        };
        self.probe(now, wait)
    }

    fn probe(&mut self, now: Instant, wait: Duration) -> Watch {
        self.next = now + wait;
        self.sent = self.sent.saturating_add(1);
        self.nonce = self.nonce.wrapping_add(1);
        // Who answers only every third one while a link is new does not get the long ones.
        let long = !self.confirmed && !self.sent.is_multiple_of(3);
        if !long && !self.confirmed {
            self.short = Some(self.nonce);
        }
        Watch::Probe {
            nonce: self.nonce,
            traffic: self.carries(now),
            long,
        }
    }

    /// The least number of unanswered probes that is unlikely on a living link: by the probes
    /// lost so far, or by the broadcasts if those say worse. A radio tries a unicast at least
    /// twice, so it is lost no more often than the square of that.
    fn misses_allowed(&self, broadcast_loss_ppm: u64) -> u32 {
        let (lost, expected) = self.history.lost();
        // A third of a loss more than were seen, of as many as are remembered.
        let probes = (u64::from(lost) * 3 + 1) * 1_000_000 / (u64::from(expected.max(63)) * 3);
        let broadcasts = broadcast_loss_ppm * broadcast_loss_ppm / 1_000_000;
        let loss = probes.max(broadcasts);
        unlikely_misses(loss, 1_000_000, GIVE_UP_PPM).clamp(MIN_MISSES, MAX_MISSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the start of virtual time")]
    fn start() -> Instant {
        Instant::now()
    }

    const fn probe(nonce: u32, long: bool) -> Watch {
        Watch::Probe {
            nonce,
            traffic: false,
            long,
        }
    }

    /// A confirmed link.
    fn confirmed(now: Instant) -> Liveness {
        let mut link = Liveness::new(now, 100);
        assert_eq!(link.watch(now, 0), probe(101, true));
        assert!(link.confirm(101));
        link.hear(now, Duration::ZERO);
        link
    }

    /// How long after the last sign of life a link that carries traffic is given up.
    fn time_to_loss(link: &mut Liveness, heard: Instant, loss_ppm: u64) -> Duration {
        loop {
            let now = link.deadline().unwrap();
            link.carry(now);
            if link.watch(now, loss_ppm) == Watch::Lost {
                return now - heard;
            }
        }
    }

    #[test]
    fn only_an_answer_to_a_probe_of_ours_confirms() {
        let now = start();
        let mut link = Liveness::new(now, u32::MAX);
        assert!(!link.confirm(u32::MAX), "none was sent");
        assert_eq!(link.watch(now, 0), probe(0, true));
        assert!(!link.confirm(1) && !link.confirm(u32::MAX) && !link.is_confirmed());
        assert!(link.confirm(0) && link.is_confirmed());
    }

    #[test]
    fn short_answers_alone_do_not_confirm() {
        let mut now = start();
        let mut link = Liveness::new(now, 0);
        for (nonce, long) in [(1, true), (2, true), (3, false), (4, true)] {
            assert_eq!(link.watch(now, 0), probe(nonce, long));
            now = link.deadline().unwrap();
        }
        assert!(!link.confirm(3) && link.is_narrow() && !link.is_confirmed());
        assert!(link.confirm(4) && !link.is_narrow());
    }

    #[test]
    fn an_idle_link_is_left_alone() {
        let link = confirmed(start());
        assert_eq!(link.deadline(), None);
    }

    #[test]
    fn a_dead_neighbor_that_carries_traffic_is_given_up_in_under_half_a_second() {
        let now = start();
        let mut link = confirmed(now);
        link.carry(now);
        let time = time_to_loss(&mut link, now, 0);
        assert!(time <= Duration::from_millis(400), "{time:?}");
        assert!(time >= Duration::from_millis(250), "{time:?}");
    }

    /// A link that carries traffic and was just heard.
    fn busy(now: Instant) -> Liveness {
        let mut link = confirmed(now);
        link.carry(now);
        link.hear(now, Duration::ZERO);
        link
    }

    /// The same, where the driver says after the first miss that it heard something so long after us.
    fn time_to_loss_confirmed(since: Duration) -> Duration {
        let heard = start();
        let mut link = busy(heard);
        loop {
            let now = link.deadline().unwrap();
            link.carry(now);
            if link.watch(now, 0) == Watch::Lost {
                return now - heard;
            }
            if link.has_just_missed_one() {
                link.confirm_silence(now, (now - heard).saturating_sub(since));
            }
        }
    }

    #[test]
    fn frames_given_up_confirm_a_silence() {
        let unconfirmed = time_to_loss_confirmed(PROBE_INTERVAL * 3 / 2);
        assert_eq!(
            unconfirmed,
            PROBE_INTERVAL * 3 + PATIENCE,
            "it was heard since"
        );
        let confirmed = time_to_loss_confirmed(Duration::ZERO);
        assert_eq!(confirmed, PROBE_INTERVAL * 2 + PATIENCE);
    }

    #[test]
    fn frames_given_up_decide_nothing_alone() {
        let now = start();
        let long = Duration::from_secs(9);
        let unconfirmed = PROBE_INTERVAL * 3 + PATIENCE;
        let mut link = busy(now);
        link.confirm_silence(now, long);
        let time = time_to_loss(&mut link, now, 0);
        assert_eq!(time, unconfirmed, "before it was asked");

        let mut link = busy(now);
        let at = now + PROBE_INTERVAL;
        assert_ne!(link.watch(at, 0), Watch::Wait);
        link.confirm_silence(at, long);
        link.hear(at, Duration::ZERO);
        let time = time_to_loss(&mut link, at, 0);
        assert_eq!(time, unconfirmed, "it has answered");
    }

    #[test]
    fn a_lossy_link_is_given_more_time() {
        let now = start();
        let mut link = confirmed(now);
        link.carry(now);
        let lossy = time_to_loss(&mut link, now, 300_000);
        let mut link = confirmed(now);
        link.carry(now);
        let clean = time_to_loss(&mut link, now, 0);
        assert!(lossy > clean + Duration::from_millis(200), "{lossy:?}");
    }

    #[test]
    fn anything_heard_spares_a_probe() {
        let now = start();
        let mut link = confirmed(now);
        link.carry(now);
        link.hear(now, Duration::ZERO);
        let mut now = now;
        for _ in 0..100 {
            now += PROBE_INTERVAL - Duration::from_millis(1);
            assert_eq!(link.watch(now, 0), Watch::Wait);
            link.hear(now, Duration::ZERO);
            link.carry(now);
        }
    }

    #[test]
    fn probing_ends_some_time_after_the_traffic() {
        let now = start();
        let mut link = confirmed(now);
        link.carry(now);
        let end = now + WATCH_TIME;
        while let Some(at) = link.deadline() {
            assert!(at <= end + PROBE_INTERVAL);
            assert_ne!(link.watch(at, 0), Watch::Lost);
            link.hear(at, Duration::ZERO);
        }
    }

    #[test]
    fn two_ends_do_not_keep_each_other_watching() {
        let now = start();
        let mut link = confirmed(now);
        link.carry_along(now);
        let at = link.deadline().unwrap();
        assert_eq!(
            link.watch(at, 0),
            probe(102, false),
            "not for traffic of our own"
        );
        link.hear(at, Duration::ZERO);
        let late = now + ALONG_TIME + PROBE_INTERVAL;
        assert_eq!(link.watch(late, 0), Watch::Wait);
        assert_eq!(link.deadline(), None);
    }

    #[test]
    fn what_is_missing_is_waited_for_also_after_the_reason_to_watch_is_gone() {
        let now = start();
        let mut link = confirmed(now);
        // The other end watches, and listens only, as this one asks; the link is a lossy one.
        link.carry_along(now);
        link.hear(now + ALONG_TIME / 2, Duration::ZERO);
        let is_lost = |link: &mut Liveness| {
            let at = link.deadline()?;
            (link.watch(at, 400_000) == Watch::Lost).then_some(at)
        };
        let lost = (0..20).find_map(|_| is_lost(&mut link));
        assert!(lost.is_some_and(|at| at > now + ALONG_TIME), "{lost:?}");
    }

    #[test]
    fn a_neighbor_without_a_daemon_is_waited_for_but_not_for_ever() {
        let now = start();
        let mut link = confirmed(now);
        let mut at = now;
        while at < now + ABSENCE {
            link.carry(at);
            assert_ne!(link.watch(at, 0), Watch::Lost, "{:?}", at - now);
            link.excuse(at);
            at = link.deadline().unwrap();
        }
        let mut refused = || {
            let at = link.deadline().unwrap();
            link.carry(at);
            let lost = link.watch(at, 0) == Watch::Lost;
            link.excuse(at);
            lost
        };
        assert!((0..10).any(|_| refused()));
    }
}
