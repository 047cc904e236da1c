//! docs/metrics.md, read: which metrics there are, and what their labels may be.

use std::collections::{BTreeMap, BTreeSet};

use crate::text;

/// What a label may be; `None`: any text.
type Values = Option<BTreeSet<String>>;

#[derive(Debug)]
pub struct Metric {
    pub kind: String,
    pub labels: BTreeMap<String, Values>,
}

/// By name. The series of a histogram are looked up by [`find`].
pub type Catalogue = BTreeMap<String, Metric>;

pub fn read() -> Catalogue {
    let page = text("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `npc_gateway_"));
    let catalogue: Catalogue = rows
        .map(|row| {
            let mut cells = row.split(" | ").map(str::trim);
            let mut cell = || cells.next().expect("a row has five cells");
            let name = format!("npc_gateway_{}", cell().trim_end_matches('`'));
            let kind = cell().to_owned();
            (name, Metric { kind, labels: labels(cell()) })
        })
        .collect();
    assert!(catalogue.len() > 100, "docs/metrics.md was not understood");
    catalogue
}

/// `` `kind` = generate choose; `model` (names of yours) ``
fn labels(cell: &str) -> BTreeMap<String, Values> {
    let parts = cell.split(';').filter(|part| part.contains('`'));
    parts
        .map(|part| {
            let mut quoted = part.splitn(3, '`').skip(1);
            let (name, rest) = (quoted.next().unwrap(), quoted.next().unwrap_or_default());
            let values = rest.trim().strip_prefix('=');
            (name.to_owned(), values.map(|text| text.split_whitespace().map(str::to_owned).collect()))
        })
        .collect()
}

/// The metric that a series belongs to.
pub fn find<'a>(catalogue: &'a Catalogue, series: &str) -> Option<&'a Metric> {
    let plain = catalogue.get(series).filter(|metric| metric.kind != "histogram");
    plain.or_else(|| {
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end))?;
        catalogue.get(name).filter(|metric| metric.kind == "histogram")
    })
}

#[test]
fn the_page_is_understood() {
    let catalogue = read();
    let closes = &catalogue["npc_gateway_socket_closes_total"];
    assert!(closes.labels["code"].as_ref().unwrap().contains("4001"));
    assert!(closes.labels["reason"].as_ref().unwrap().contains("draining"));
    assert!(catalogue["npc_gateway_turns_by_archetype_total"].labels["archetype"].is_none());
    assert!(catalogue["npc_gateway_uptime_seconds"].labels.is_empty());
    assert!(find(&catalogue, "npc_gateway_turn_seconds_bucket").is_some());
    assert!(find(&catalogue, "npc_gateway_turn_seconds").is_none(), "no series has a histogram's own name");
}
