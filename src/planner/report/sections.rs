//! What is told of a plan, in order.

mod details;

use super::super::fleet::{Fleet, Group};
use super::super::packing::Market;
use super::super::reference::{dollars, number};
use super::{Report, WhatIf};
use details::{capacity, chains, why};

/// A heading, some lines, and a table.
pub(super) struct Section {
    pub title: &'static str,
    pub lines: Vec<String>,
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

pub(super) fn sections(report: &Report) -> Vec<Section> {
    let fleet = &report.fleet;
    let mut sections = vec![cost(report), servers(fleet), why(fleet), chains(fleet), capacity(fleet)];
    if let Some(second) = &report.what_if {
        sections.push(beside(fleet, second));
    }
    sections.push(Section {
        title: "What is measured and what is not",
        lines: fleet.notes.clone(),
        head: Vec::new(),
        rows: Vec::new(),
    });
    sections
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn counted(count: u64, name: &str) -> String {
    format!("{} {name}{}", number(count as f64, 0), if count == 1 { "" } else { "s" })
}

fn cost(report: &Report) -> Section {
    let (fleet, cost) = (&report.fleet, report.fleet.cost);
    let market = match fleet.market {
        Market::OnDemand => "on demand",
        Market::Spot => "spot",
    };
    let assumed = if cost.spot_is_assumed { ", some of these prices assumed" } else { "" };
    let mut lines = vec![
        format!(
            "{} for {}: {} a month on demand, {} on the spot market{assumed}.",
            counted(fleet.servers.len() as u64, "server"),
            counted(fleet.npcs, "NPC"),
            dollars(cost.on_demand_usd_per_month),
            dollars(cost.spot_usd_per_month)
        ),
        format!(
            "Cheapest {market}: {} dollars an hour; no packing of these replicas costs less than {}.",
            number(cost.usd_per_hour, 3),
            number(cost.least_usd_per_hour, 3)
        ),
        format!(
            "Busiest hour: {} lines/s, {} choices/s, {} tokens/s decoded, {} computed of prompts (on average {} lines/s).",
            number(fleet.peak.lines_per_s, 1),
            number(fleet.peak.choices_per_s, 1),
            number(fleet.peak.decode_tokens_per_s, 0),
            number(fleet.peak.prefill_tokens_per_s, 0),
            number(fleet.mean.lines_per_s, 1)
        ),
    ];
    lines.extend(fleet.warnings().map(str::to_owned));
    if let Some(reference) = &report.reference {
        lines.push(format!(
            "The reference design has {} {} for so many NPCs, its own formula {}: {} a month on demand, {} on spot.",
            reference.servers,
            reference.instance,
            reference.formula_servers,
            dollars(reference.on_demand_usd_per_month),
            dollars(reference.spot_usd_per_month)
        ));
    }
    Section { title: "Cost", lines, head: Vec::new(), rows: Vec::new() }
}

fn servers(fleet: &Fleet) -> Section {
    let row = |group: &Group| {
        let zones = group.zones.iter().map(|(zone, count)| format!("{zone} {count}")).collect::<Vec<_>>();
        let (wait, target) = match group.expected {
            Some(seen) if seen.within_target => (format!("{:.0} ms", seen.first_token_p95_ms), "yes"),
            Some(seen) => (format!("{:.0} ms", seen.first_token_p95_ms), "no"),
            None => ("not simulated".to_owned(), "-"),
        };
        vec![
            group.instance.clone(),
            format!("{} x {}", group.devices_each, group.device),
            group.servers.to_string(),
            zones.join(", "),
            number(group.on_demand_usd_per_month, 0),
            number(group.spot_usd_per_month, 0),
            format!("{} / {}", percent(group.peak_utilisation), percent(group.average_utilisation)),
            group.binds.clone(),
            wait,
            group.expected.map_or("-".to_owned(), |seen| {
                format!("{:.1} % / {:.1} %", seen.refused_share * 100.0, seen.missed_choices_share * 100.0)
            }),
            target.to_owned(),
        ]
    };
    let mut lines = vec!["Dollars a month.".to_owned()];
    lines.extend(fleet.groups.iter().map(|group| {
        let settings = group.settings;
        format!(
            "Settings on {}: engine.rows={} engine.prefill_budget={} engine.queue={} engine.context={} \
             engine.kept_conversations={} engine.kv_memory_mb={} engine.adapter_memory_mb={}",
            group.instance,
            settings.rows,
            settings.prefill_budget,
            settings.queue,
            settings.context,
            settings.kept_conversations,
            settings.kv_memory_mb,
            settings.adapter_memory_mb
        )
    }));
    Section {
        title: "Servers",
        lines,
        head: vec![
            "type",
            "devices",
            "servers",
            "zones",
            "on demand",
            "spot",
            "in use, peak / mean",
            "binds",
            "first token p95",
            "lines refused / choices missed",
            "in target",
        ],
        rows: fleet.groups.iter().map(row).collect(),
    }
}

fn beside(first: &Fleet, second: &WhatIf) -> Section {
    let signed = |value: f64| {
        let text = number(value, 0);
        if value > 0.0 { format!("+{text}") } else { text }
    };
    let row = |name: &str, before: f64, after: f64| {
        vec![name.to_owned(), number(before, 0), number(after, 0), signed(after - before)]
    };
    let (before, after) = (first.cost, second.fleet.cost);
    Section {
        title: "What if",
        lines: vec![second.changes.join(", ")],
        head: vec!["", "as asked", "what if", "difference"],
        rows: vec![
            row("servers", first.servers.len() as f64, second.fleet.servers.len() as f64),
            row("on demand, dollars a month", before.on_demand_usd_per_month, after.on_demand_usd_per_month),
            row("spot, dollars a month", before.spot_usd_per_month, after.spot_usd_per_month),
        ],
    }
}
