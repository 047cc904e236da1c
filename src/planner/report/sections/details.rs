//! What is told of each server, chain and device.

use super::super::super::capacity::{Basis, Figure};
use super::super::super::fleet::{Fleet, ServerPlan};
use super::super::super::memory::gigabytes;
use super::super::super::reference::number;
use super::{Section, percent};

/// Servers and chains that are listed one by one before the rest is only counted.
const LISTED: usize = 24;

pub(super) fn why(fleet: &Fleet) -> Section {
    let row = |server: &ServerPlan| {
        let place = format!("{} in {}", server.instance, server.zone);
        vec![place, format!("{} {}", server.binds, percent(server.binds_share)), server.why.clone()]
    };
    let more = fleet.servers.len().saturating_sub(LISTED);
    let lines =
        if more > 0 { vec![format!("The first {LISTED}; {more} more are in the JSON.")] } else { Vec::new() };
    Section {
        title: "Why each server is there",
        lines,
        head: vec!["server", "binds", "why"],
        rows: fleet.servers.iter().take(LISTED).map(row).collect(),
    }
}

pub(super) fn chains(fleet: &Fleet) -> Section {
    let rows = fleet.chains.iter().take(LISTED).map(|chain| {
        vec![
            chain.archetype.clone(),
            chain.model.clone(),
            number(chain.npcs as f64, 0),
            chain.replicas.to_string(),
            number(chain.actions_per_s, 2),
            percent(chain.largest_share),
            if chain.shares_a_server { "yes" } else { "no" }.to_owned(),
            gigabytes(chain.weights_bytes),
            gigabytes(chain.adapters_bytes),
            gigabytes(chain.kv_bytes),
            format!("{:.0} s, {} dollars", chain.cold_start_s, number(chain.cold_start_usd, 3)),
            number(chain.standby_usd_per_month, 0),
        ]
    });
    let more = fleet.chains.len().saturating_sub(LISTED);
    let mut lines = vec![
        "A chain is rare enough to share a server when it takes at most a quarter of a device beside others."
            .to_owned(),
        "Keys and values are those of a replica. A cold start is from renting a server to the first answer."
            .to_owned(),
    ];
    if more > 0 {
        lines.push(format!("The first {LISTED}; {more} more are in the JSON."));
    }
    Section {
        title: "Chains",
        lines,
        head: vec![
            "archetype",
            "model",
            "NPCs",
            "replicas",
            "actions/s",
            "of a device",
            "shares",
            "weights",
            "adapters",
            "keys and values",
            "cold start",
            "standby a month",
        ],
        rows: rows.collect(),
    }
}

pub(super) fn capacity(fleet: &Fleet) -> Section {
    let efficiency = |name: &str, figure: &Option<Figure>| {
        let Some(figure) = figure else { return String::new() };
        let how = match figure.basis {
            Basis::Measured(_) => "measured",
            Basis::Scaled(_) => "scaled",
            Basis::Assumed(_) => "assumed",
        };
        format!("; {name} {} {how}", percent(figure.value))
    };
    let rows = fleet.capacities.iter().map(|rate| {
        let basis = match &rate.basis {
            Basis::Measured(how) => format!("measured: {how}"),
            Basis::Scaled(how) => format!("scaled: {how}"),
            Basis::Assumed(how) => format!("assumed: {how}"),
        };
        vec![
            format!("{} ({})", rate.device, rate.instance),
            rate.model.clone(),
            rate.capacity.rows.to_string(),
            number(rate.capacity.lines_per_s, 1),
            number(rate.capacity.choices_per_s, 1),
            number(rate.capacity.decode_tokens_per_s, 0),
            number(rate.capacity.prefill_tokens_per_s, 0),
            format!("{:.1} ms", rate.capacity.step_ms),
            rate.limit.clone(),
            format!(
                "{basis}{}{}",
                efficiency("bandwidth", &rate.bandwidth_efficiency),
                efficiency("rate", &rate.compute_efficiency)
            ),
        ]
    });
    Section {
        title: "What one device does",
        lines: vec!["Without headroom, at the batch that does most within the targets.".to_owned()],
        head: vec![
            "device",
            "model",
            "rows",
            "lines/s",
            "choices/s",
            "decode tokens/s",
            "prefill tokens/s",
            "step",
            "limit",
            "how it is known",
        ],
        rows: rows.collect(),
    }
}
