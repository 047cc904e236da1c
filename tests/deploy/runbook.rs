//! docs/operations.md: a section for every alert, and nothing that is not there.

use std::collections::{BTreeMap, BTreeSet};

use crate::watching::{alerts, panels};
use crate::{catalogue, items, path, str_of, text};

const RUNBOOK: &str = "docs/operations.md";

/// What stands behind `## Alerts`, by heading.
fn sections() -> BTreeMap<String, String> {
    let page = text(RUNBOOK);
    let (_, alerts) = page.split_once("\n## Alerts\n").expect("a part on alerts");
    let sections = alerts.split("\n### ").skip(1).map(|section| {
        let (name, body) = section.split_once('\n').expect("a heading and a text");
        (name.to_owned(), body.to_owned())
    });
    sections.collect()
}

#[test]
fn every_alert_has_a_section_and_every_section_an_alert() {
    let sections = sections();
    let alerts = alerts();
    for alert in &alerts {
        let name = str_of(alert, "alert");
        let body = sections.get(name).unwrap_or_else(|| panic!("{RUNBOOK} does not say what {name} means"));
        let severity = str_of(&alert["labels"], "severity");
        assert!(body.to_lowercase().starts_with(severity), "{name} is {severity}");
    }
    let names: BTreeSet<_> = alerts.iter().map(|alert| str_of(alert, "alert")).collect();
    let stray: Vec<_> = sections.keys().filter(|name| !names.contains(name.as_str())).collect();
    assert!(stray.is_empty(), "no alert leads to {stray:?}");
}

/// What a section sends its reader to, in italics, is on the dashboard.
#[test]
fn panels_that_are_named_are_there() {
    let mut shown = BTreeSet::new();
    for panel in panels() {
        shown.insert(str_of(&panel, "title").to_owned());
        shown.extend(items(&panel["targets"]).iter().map(|target| str_of(target, "legendFormat").to_owned()));
    }
    let mut named = 0;
    for (section, body) in sections() {
        // Stars alone are italics; there is nothing bold in a section.
        for name in body.split('*').skip(1).step_by(2) {
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(shown.contains(&name), "{section}: there is no panel {name:?}");
            named += 1;
        }
    }
    assert!(named > 10);
}

#[test]
fn settings_that_are_named_are_there() {
    let defaults: toml::Table = text("config/default.toml").parse().unwrap();
    // `turn.done` looks like one.
    let catalogue = catalogue::read();
    let frames: BTreeSet<&str> = ["npc_gateway_frames_sent_total", "npc_gateway_frames_received_total"]
        .iter()
        .flat_map(|name| catalogue[*name].labels["op"].iter().flatten())
        .map(String::as_str)
        .collect();
    let mut named = 0;
    for page in
        [RUNBOOK, "docs/metrics.md", "deploy/prometheus/alerts.yml", "deploy/grafana/npc-gateway.json"]
    {
        let page_text = text(page);
        let is_of_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
        for word in page_text.split(|c| !is_of_word(c)).map(|word| word.trim_matches('.')) {
            let Some((section, key)) = word.split_once('.') else { continue };
            let Some(keys) = defaults.get(section).and_then(toml::Value::as_table) else { continue };
            // `models.file` is a setting, models.toml a file.
            let is_file = ["toml", "md", "json", "rs"].contains(&key);
            assert!(
                is_file || frames.contains(word) || keys.contains_key(key),
                "{page}: there is no setting {word}"
            );
            named += 1;
        }
    }
    assert!(named > 50);
}

#[test]
fn links_lead_somewhere() {
    let page = text(RUNBOOK);
    let headings: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| line.trim_start_matches('#').trim())
        .map(|line| line.to_lowercase().replace(' ', "-").replace([',', '.', '`'], ""))
        .collect();
    let mut links = 0;
    for link in page.split("](").skip(1) {
        let link = link.split_once(')').unwrap().0;
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        if file.is_empty() {
            assert!(headings.contains(anchor), "there is no part #{anchor}");
        } else {
            assert!(path("docs").join(file).exists(), "there is no {file}");
        }
        links += 1;
    }
    assert!(links > 20);
}
