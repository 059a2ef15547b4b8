//! Measurements of what a way carries: those that `meshctl throughput` wants, which are only arranged here, and
//! those that other nodes ask for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use control_api::{Answer, Arranged, Direction, ErrorCode, HexBytes, RpcError, SCHEMA, Throughput};
use mesh_proto::OriginatorId;
use mesh_proto::wire::throughput::{self as wire, Token, Verdict};
use mesh_proto::wire::{ThroughputAnswer, ThroughputRequest};
use tokio::sync::oneshot;

use super::Driver;
use crate::throughput;

/// Where an answer goes.
type Asker = oneshot::Sender<Result<Answer, RpcError>>;

/// How often a request is said again while no answer comes: both may get lost.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

const BUSY: &str = "takes part in another throughput test: try again when it is over";
const OF_BEFORE: &str =
    "answers probes, but knows no throughput tests: its meshd is of an older version";

/// Requests that wait for an answer, by their tokens. Each has a connection of the control socket to itself.
#[derive(Debug, Default)]
pub(super) struct Arranging {
    waiting: BTreeMap<Token, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    to: OriginatorId,
    request: ThroughputRequest,
    /// What an echo, sent beside the request, is known by: nodes of before know no requests, but echoes.
    nonce: u64,
    is_there: bool,
    /// It takes part in another one, which may be at its end: it is asked again as well.
    is_busy: bool,
    again: Instant,
    until: Instant,
    asker: Asker,
}

impl Arranging {
    /// When something is to be said again, or has waited long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|it| it.again.min(it.until)).min()
    }
}

impl Driver {
    /// Asks a node for a measurement. The answer comes when the node's does, or when the time is over.
    pub(super) fn arrange_throughput(&mut self, now: Instant, wanted: &Throughput, asker: Asker) {
        match self.request_throughput(now, wanted) {
            Ok((to, request, nonce)) => {
                let waiting = Waiting {
                    to,
                    request,
                    nonce,
                    is_there: false,
                    is_busy: false,
                    again: now + AGAIN_AFTER,
                    until: now + Duration::from_millis(wanted.wait_ms.into()),
                    asker,
                };
                self.arranging.waiting.insert(request.token, waiting);
            }
            // Whoever asked may be gone.
            Err(error) => drop(asker.send(Err(error))),
        }
    }

    fn request_throughput(
        &mut self,
        now: Instant,
        wanted: &Throughput,
    ) -> Result<(OriginatorId, ThroughputRequest, u64), RpcError> {
        let to = self.view(now).node_called(&wanted.node)?;
        if to == self.router.id() {
            return Err(RpcError::invalid_params("that is this node itself"));
        }
        let failed = |error: getrandom::Error| RpcError::failed(error.to_string());
        let mut token = [0; Token::LEN];
        getrandom::fill(&mut token).map_err(failed)?;
        let request = ThroughputRequest {
            token: Token::from_bytes(token),
            direction: match wanted.direction {
                Direction::Up => wire::Direction::Up,
                Direction::Down => wire::Direction::Down,
            },
            seconds: wanted.seconds,
        };
        let nonce = getrandom::u64().map_err(failed)?;
        if !self.say_request(now, to, request, nonce) {
            let name = self.view(now).display(to);
            return Err(RpcError::not_found(format!("no way to {name}")));
        }
        Ok((to, request, nonce))
    }

    fn say_request(
        &mut self,
        now: Instant,
        to: OriginatorId,
        request: ThroughputRequest,
        nonce: u64,
    ) -> bool {
        self.router.send_echo(now, to, nonce, to)
            && self.router.request_throughput(now, to, request)
    }

    /// Says again what was not answered, and of what has waited long enough that it was not.
    pub(super) fn continue_arranging(&mut self, now: Instant) {
        let over = self
            .arranging
            .waiting
            .extract_if(.., |_, it| it.until <= now);
        for (_, waiting) in over.collect::<Vec<_>>() {
            let name = self.view(now).display(waiting.to);
            let failed = |what: &str| Err(RpcError::failed(format!("{name} {what}")));
            let outcome = if waiting.is_busy {
                failed(BUSY)
            } else if waiting.is_there {
                failed(OF_BEFORE)
            } else {
                Ok(self.arranged(now, waiting.to, None))
            };
            let _ = waiting.asker.send(outcome);
        }
        let mut due = Vec::new();
        for waiting in self.arranging.waiting.values_mut() {
            if waiting.again <= now {
                waiting.again = now + AGAIN_AFTER;
                due.push((waiting.to, waiting.request, waiting.nonce));
            }
        }
        for (to, request, nonce) in due {
            self.say_request(now, to, request, nonce);
        }
    }

    /// Whether an echo's reply belongs to a request.
    pub(super) fn note_that_it_is_there(&mut self, from: OriginatorId, nonce: u64) -> bool {
        let mut all = self.arranging.waiting.values_mut();
        let waiting = all.find(|it| it.nonce == nonce && it.to == from);
        waiting.map(|it| it.is_there = true).is_some()
    }

    /// Takes the answer to the request that it belongs to, if there is one.
    pub(super) fn handle_throughput_answer(
        &mut self,
        now: Instant,
        from: OriginatorId,
        answer: ThroughputAnswer,
    ) {
        let waiting = self.arranging.waiting.get_mut(&answer.token);
        let Some(waiting) = waiting.filter(|it| it.to == from) else {
            return;
        };
        if answer.verdict == Verdict::Busy {
            waiting.is_busy = true;
            return;
        }
        let Some(waiting) = self.arranging.waiting.remove(&answer.token) else {
            return;
        };
        let name = self.view(now).display(from);
        let failed = |what: &str| Err(RpcError::failed(format!("{name} {what}")));
        let outcome = match answer.verdict {
            Verdict::Accepted => Ok(self.arranged(now, from, Some(answer.token))),
            Verdict::Refused => Err(RpcError::new(
                ErrorCode::Permission,
                format!("{name} takes part in no throughput tests"),
            )),
            Verdict::Busy => failed(BUSY),
            Verdict::TooMany => failed("has had enough throughput tests: try again in ten minutes"),
            Verdict::Failed => failed("cannot listen for a throughput test"),
        };
        let _ = waiting.asker.send(outcome);
    }

    fn arranged(&self, now: Instant, node: OriginatorId, token: Option<Token>) -> Answer {
        let network = self.router.network();
        Arranged {
            schema: SCHEMA,
            node: self.view(now).node_ref(node),
            address: network.mesh_ipv6(node),
            port: throughput::PORT,
            own_address: network.mesh_ipv6(self.router.id()),
            token: token.map(|token| HexBytes::from(token.as_bytes().to_vec())),
        }
        .into()
    }

    /// Another node asks.
    pub(super) fn handle_throughput_request(
        &mut self,
        now: Instant,
        from: OriginatorId,
        request: &ThroughputRequest,
    ) {
        let network = self.router.network();
        let (theirs, ours) = (network.mesh_ipv6(from), network.mesh_ipv6(self.router.id()));
        let verdict = match self.config.sharing().throughput_tests() {
            true => self.throughput.begin(now, (from, theirs), ours, request),
            false => Verdict::Refused,
        };
        let token = request.token;
        let answer = ThroughputAnswer { token, verdict };
        self.router.answer_throughput(now, from, answer);
    }
}
