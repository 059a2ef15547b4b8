//! Which gateway has which mark.

use std::collections::BTreeMap;

use crate::{Mark, OriginatorId, Route, Table, Target};

/// The gateways that were used, as far as there are marks: the one not used for longest gives its own
/// away.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    gateways: BTreeMap<Mark, OriginatorId>,
    /// The marks in the order of their last use.
    used: Vec<Mark>,
}

impl Marks {
    /// The marks that flows of an earlier life have, by its routes.
    pub(super) fn adopted(routes: &[Route]) -> Self {
        let mut marks = Self::default();
        for route in routes {
            if let (Table::Marked(mark), Target::Tunnel { peer, .. }) = (route.table, route.target)
            {
                marks.gateways.insert(mark, peer);
                marks.touch(mark);
            }
        }
        marks
    }

    /// The mark of a gateway that new flows go through now.
    pub(super) fn of_used(&mut self, gateway: OriginatorId) -> Option<Mark> {
        let mark = self.of(gateway).or_else(|| self.free())?;
        self.gateways.insert(mark, gateway);
        self.touch(mark);
        Some(mark)
    }

    /// The mark of a gateway.
    pub(super) fn of(&self, gateway: OriginatorId) -> Option<Mark> {
        let mut all = self.gateways.iter();
        all.find(|(_, it)| **it == gateway).map(|(mark, _)| *mark)
    }

    fn free(&self) -> Option<Mark> {
        let is_free = |mark: &Mark| !self.gateways.contains_key(mark);
        Mark::all()
            .find(is_free)
            .or_else(|| self.used.first().copied())
    }

    fn touch(&mut self, mark: Mark) {
        self.used.retain(|it| *it != mark);
        self.used.push(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tunnel;

    fn gateway(byte: u8) -> OriginatorId {
        OriginatorId::from_bytes([byte; 10])
    }

    #[test]
    fn a_gateway_keeps_its_mark_until_others_need_it() {
        let mut marks = Marks::default();
        let first = marks.of_used(gateway(1)).unwrap();
        let second = marks.of_used(gateway(2)).unwrap();
        assert_ne!(first, second);
        assert_eq!(marks.of_used(gateway(1)), Some(first));
        for byte in 3..=Mark::COUNT {
            marks.of_used(gateway(byte)).unwrap();
        }
        assert_eq!(marks.gateways.len(), usize::from(Mark::COUNT));
        // The first was used again after the second.
        assert_eq!(marks.of_used(gateway(99)), Some(second));
        assert_eq!(
            (marks.of(gateway(1)), marks.of(gateway(2))),
            (Some(first), None)
        );
    }

    #[test]
    fn marks_of_an_earlier_life_are_taken() {
        let mark = Mark::all().next().unwrap();
        let peer = gateway(7);
        let key = (Table::Marked(mark), "0.0.0.0/0".parse().unwrap());
        let target = Target::Tunnel {
            peer,
            tunnel: Tunnel::Vxlan,
        };
        let mut marks = Marks::adopted(&[Route::new(key, target.into())]);
        assert_eq!(marks.of(peer), Some(mark));
        assert_ne!(marks.of_used(gateway(1)), Some(mark));
    }
}
