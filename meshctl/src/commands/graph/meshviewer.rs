//! `meshviewer.json`, as Freifunk's meshviewer reads it and yanic writes it (`output/meshviewer-ffrgb`).

use std::env;
use std::time::SystemTime;

use control_api::{OriginatorId, Quality, SCHEMA};
use serde_json::{Value, json};

use super::{Graph, Link, Node, degrees};

/// Meshviewer wants dates, and draws every link as one of two neighbors: paths are left out.
pub(super) fn document(graph: &Graph, now_s: u64) -> Value {
    let node = |(id, node): (&OriginatorId, &Node)| self::node(graph, *id, node, now_s);
    let link = |link: &Link| {
        json!({
            "type": "other",
            "source": link.from,
            "target": link.to,
            "source_tq": share(link.tx),
            "target_tq": share(link.rx),
            "source_addr": "",
            "target_addr": "",
        })
    };
    json!({
        "schema": SCHEMA,
        "timestamp": date(now_s),
        "nodes": graph.nodes.iter().map(node).collect::<Vec<_>>(),
        "links": graph.links.iter().map(link).collect::<Vec<_>>(),
    })
}

/// Meshviewer has no word for "not said": 0 there is a direction in which nothing arrives.
fn share(quality: Option<Quality>) -> f64 {
    quality.map_or(0.0, Quality::share)
}

/// When a node was first seen nobody knows; a date long ago keeps it from being shown as new.
fn node(graph: &Graph, id: OriginatorId, node: &Node, now_s: u64) -> Value {
    let mut value = json!({
        "firstseen": date(0),
        "lastseen": date(now_s.saturating_sub(node.last_heard_ms / 1000)),
        "is_online": node.reachable,
        "is_gateway": node.gateway,
        "clients": 0,
        "clients_wifi24": 0,
        "clients_wifi5": 0,
        "clients_other": 0,
        "node_id": id,
        "mac": "",
        "addresses": node.addresses,
        "domain": graph.network,
        "hostname": node.label(id),
        "autoupdater": {"enabled": false},
        "nproc": 0,
    });
    if let (Some(fields), Some(place)) = (value.as_object_mut(), node.position) {
        fields.insert(
            "location".into(),
            json!({
                "latitude": degrees(place.latitude_udeg),
                "longitude": degrees(place.longitude_udeg),
            }),
        );
    }
    if let Some(fields) = value.as_object_mut().filter(|_| id == graph.own) {
        fields.insert(
            "uptime".into(),
            date(now_s.saturating_sub(graph.uptime_s)).into(),
        );
        fields.insert(
            "firmware".into(),
            json!({"base": "meshd", "release": graph.version}),
        );
    }
    value
}

/// `SOURCE_DATE_EPOCH` if it is set, as for all that is to come out the same twice.
pub(super) fn now_s() -> u64 {
    let given = env::var("SOURCE_DATE_EPOCH").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |now| now.as_secs())
    })
}

/// Seconds since 1970 as ISO 8601, by H. Hinnant's `civil_from_days`: years begin in March.
fn date(s: u64) -> String {
    let (days, second) = (s / 86_400 + 719_468, s % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let (month, later) = match from_march {
        0..10 => (from_march + 3, 0),
        _ => (from_march - 9, 1),
    };
    format!(
        "{:04}-{month:02}-{of_month:02}T{:02}:{:02}:{:02}+0000",
        era * 400 + year + later,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00+0000"),
            (951_782_399, "2000-02-28T23:59:59+0000"),
            (951_782_400, "2000-02-29T00:00:00+0000"),
            (951_868_800, "2000-03-01T00:00:00+0000"),
            (1_798_761_599, "2026-12-31T23:59:59+0000"),
            (4_107_542_400, "2100-03-01T00:00:00+0000"),
        ];
        for (s, text) in cases {
            assert_eq!(date(s), text);
        }
    }
}
