//! Who offers Internet, and why which one is used.

use control_api::{AttoSmt, Family, Gateway, GatewayChoice, Gateways, SCHEMA};
use mesh_proto::gateway_policy::{Allowed, Class, Refusal};
use mesh_proto::gateway_selection::{Verdict, switch_gain_percent};
use mesh_proto::router::GatewayView;
use mesh_proto::{Metric, NodeRecord, OriginatorId, Price, SignedRecord};

use super::View;
use super::answers::{node_id, originator_id, tunnel_kind};

impl View<'_> {
    pub(super) fn gateways(&self) -> Gateways {
        let own = self.shared.and_then(|_| self.own_gateway());
        let views = self.router.gateways();
        let others = views.iter().filter_map(|view| self.gateway(view));
        Gateways {
            schema: SCHEMA,
            choice: self.gateway_choice(),
            gateways: own.into_iter().chain(others).collect(),
        }
    }

    /// What was selected at run time.
    fn gateway_choice(&self) -> GatewayChoice {
        match self.selected {
            None | Some(Allowed::Any) => GatewayChoice::Auto,
            Some(Allowed::Nobody) => GatewayChoice::Off,
            Some(Allowed::Only(node)) => GatewayChoice::Node(node.to_string()),
        }
    }

    fn own_gateway(&self) -> Option<Gateway> {
        let mut gateway = describe_offer(self.router.id(), self.own_record()?)?;
        gateway.selected = true;
        gateway.used_for.clone_from(&gateway.families);
        gateway.reason = "our own uplink".to_owned();
        gateway.hops = Some(0);
        let fee = self.router.price_to(self.own_record()?.node());
        gateway.price_atto_per_mib = fee.map(atto_smt);
        Some(gateway)
    }

    fn gateway(&self, view: &GatewayView) -> Option<Gateway> {
        let mut gateway = describe_offer(view.id, self.router.record(view.id)?)?;
        let in_use = self.router.gateways_in_use();
        let families = mesh_proto::Family::BOTH.into_iter();
        let used_for = families.filter(|family| in_use.of(*family) == Some(view.id));
        gateway.used_for = used_for.map(family).collect();
        gateway.selected = !gateway.used_for.is_empty();
        gateway.reason = self.reason(view, &gateway.used_for);
        gateway.metric_us = view.path.as_us().into();
        gateway.cost_us = view.standing.map(|it| it.cost.as_us().into());
        gateway.price_atto_per_mib = view.price.map(atto_smt);
        gateway.tunnel = view.tunnel.map(tunnel_kind);
        let path = self.router.originator(view.id);
        gateway.hops = path.and_then(|path| path.hops).map(u32::from);
        Some(gateway)
    }

    fn reason(&self, view: &GatewayView, used_for: &[Family]) -> String {
        let class = view.standing.map(|it| it.class);
        let cost = milliseconds(view.standing.map_or(Metric::INFINITE, |it| it.cost));
        let gain = switch_gain_percent(self.router.id());
        match view.verdict {
            Verdict::Best => {
                let merit = self.merit(class, format!("lowest cost, {cost}"));
                format!("chosen{}: {merit}", self.alone(used_for))
            }
            Verdict::Kept => {
                let merit = format!("costs {cost}, none {gain} % less");
                format!(
                    "chosen{}: {}",
                    self.alone(used_for),
                    self.merit(class, merit)
                )
            }
            Verdict::Refused(refusal) => self.refusal(refusal, view.price),
            Verdict::Outranked if class == Some(Class::Avoided) => "avoided".to_owned(),
            Verdict::Outranked => "another is preferred".to_owned(),
            Verdict::CostsMore { in_use } => {
                format!("costs {cost}, the one in use {}", milliseconds(in_use))
            }
            Verdict::NotBetterEnough { in_use } => format!(
                "costs {cost}, not {gain} % less than {}",
                milliseconds(in_use)
            ),
            Verdict::FollowsIpv4 => "IPv6 goes the way of IPv4".to_owned(),
            Verdict::NotNeeded => "our own uplink is used".to_owned(),
        }
    }

    /// What speaks for one that is used: what the operator said, or else its cost.
    fn merit(&self, class: Option<Class>, cost: String) -> String {
        let pinned = matches!(self.config.gateways().allowed, Allowed::Only(_));
        match class {
            _ if self.selected.is_some() => "selected by hand".to_owned(),
            _ if pinned => "pinned".to_owned(),
            Some(Class::Preferred(_)) => "preferred".to_owned(),
            Some(Class::Avoided) => "avoided, but nothing else is left".to_owned(),
            Some(Class::Ordinary) | None => cost,
        }
    }

    /// The family, if the other one goes another way.
    fn alone(&self, used_for: &[Family]) -> &'static str {
        let in_use = self.router.gateways_in_use();
        match used_for {
            [Family::Ipv4] if in_use.ipv6.is_some() => " for IPv4",
            [Family::Ipv6] if in_use.ipv4.is_some() => " for IPv6",
            _ => "",
        }
    }

    fn refusal(&self, refusal: Refusal, price: Option<Price>) -> String {
        let reason = match refusal {
            Refusal::Unreachable => "unreachable",
            Refusal::NoTunnel => "no tunnel that both know",
            Refusal::Never => "never, by policy",
            Refusal::NotAllowed => match self.selected {
                None | Some(Allowed::Any) => "another is pinned",
                Some(Allowed::Only(_)) => "another is selected by hand",
                Some(Allowed::Nobody) => "gateways are switched off by hand",
            },
            Refusal::TooDear => match price {
                // In the unit of the configuration, where something can be done about it.
                Some(price) => {
                    return format!("costs {price}, maximum_price is {}", self.most_paid());
                }
                None => "not for sale: dearer than maximum_price on the way",
            },
        };
        reason.to_owned()
    }

    /// What `gateways.maximum_price` says.
    fn most_paid(&self) -> String {
        let most = self.config.gateways().maximum_price;
        most.map_or("any".to_owned(), |most| most.atto_smt_per_mib().to_string())
    }

    /// What keeps this node from the Internet, if it is nothing but the price, and what to do about it.
    pub(super) fn priced_out(&self) -> Option<(String, String)> {
        let (id, price) = self.router.too_dear()?;
        let (gateway, most) = (self.display(id), self.most_paid());
        Some(match price.is_payable() {
            true => (
                format!(
                    "no Internet: gateways.maximum_price is {most}, and the cheapest way, through \
                     {gateway}, costs {price}"
                ),
                format!(
                    "to pay that, set gateways.maximum_price to {} or more",
                    price.atto_smt_per_mib()
                ),
            ),
            false => (
                "no Internet: some node on each way does not pay what it costs".to_owned(),
                "its operator can set gateways.maximum_price there".to_owned(),
            ),
        })
    }
}

fn describe_offer(id: OriginatorId, signed: &SignedRecord) -> Option<Gateway> {
    let NodeRecord { name, gateway, .. } = signed.record();
    let offer = gateway.as_ref()?;
    let ipv4 = offer.ipv4.then_some(Family::Ipv4);
    let ipv6 = offer.ipv6.then_some(Family::Ipv6);
    Some(Gateway {
        originator_id: originator_id(id),
        node_id: node_id(signed),
        name: name.clone(),
        selected: false,
        used_for: Vec::new(),
        reason: String::new(),
        metric_us: 0,
        cost_us: None,
        hops: None,
        bandwidth_down_bps: Some(offer.down_bps),
        bandwidth_up_bps: Some(offer.up_bps),
        price_atto_per_mib: None,
        families: ipv4.into_iter().chain(ipv6).collect(),
        tunnel: None,
        dns: offer.dns.clone(),
    })
}

const fn family(family: mesh_proto::Family) -> Family {
    match family {
        mesh_proto::Family::Ipv4 => Family::Ipv4,
        mesh_proto::Family::Ipv6 => Family::Ipv6,
    }
}

fn atto_smt(price: Price) -> AttoSmt {
    price.atto_smt_per_mib().into()
}

/// A cost with one decimal.
fn milliseconds(cost: Metric) -> String {
    let us = cost.as_us();
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}
