//! The dashboard and the alerts read metrics that exist, and lead to what explains them.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::{catalogue, items, json, path, promql, str_of, yaml};

const DASHBOARD: &str = "deploy/grafana/npc-gateway.json";
pub const ALERTS: &str = "deploy/prometheus/alerts.yml";

/// All panels but the headings.
pub fn panels() -> Vec<Value> {
    let board = json(DASHBOARD);
    let panels: Vec<_> =
        items(&board["panels"]).iter().filter(|panel| panel["type"] != "row").cloned().collect();
    assert!(panels.len() > 50);
    panels
}

/// All alerts.
pub fn alerts() -> Vec<Value> {
    let file = yaml(ALERTS);
    let rules: Vec<_> =
        items(&file["groups"]).iter().flat_map(|group| items(&group["rules"])).cloned().collect();
    assert!(rules.len() > 20);
    rules
}

#[test]
fn every_panel_reads_metrics_that_there_are() {
    let catalogue = catalogue::read();
    for panel in panels() {
        let title = str_of(&panel, "title");
        assert!(!items(&panel["targets"]).is_empty(), "{title} shows nothing");
        for target in items(&panel["targets"]) {
            let query = str_of(target, "expr");
            let labels = promql::check(&catalogue, title, query);
            assert!(!promql::series(query).is_empty(), "{title}: {query}");
            for series in promql::series(query) {
                let by_server = series.matchers.iter().any(|(label, _, _)| label == "instance");
                assert!(by_server, "{title}: {} does not heed the choice of servers", series.name);
            }
            for name in str_of(target, "legendFormat").split("{{").skip(1) {
                let name = name.split_once("}}").unwrap().0;
                assert!(labels.iter().any(|label| label == name), "{title}: nothing has the label {name}");
            }
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit() {
    let mut titles = BTreeSet::new();
    for panel in panels() {
        let title = str_of(&panel, "title").to_owned();
        assert!(str_of(&panel, "description").len() > 15, "{title} has no description");
        assert!(!str_of(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title} has no unit");
        assert!(titles.insert(title.clone()), "two panels are called {title}");
    }
}

#[test]
fn panels_lie_beside_each_other() {
    let board = json(DASHBOARD);
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in items(&board["panels"]) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} lies on another panel", str_of(panel, "title"));
        }
    }
}

/// What is documented and neither drawn nor watched is forgotten.
#[test]
fn every_metric_is_shown_or_watched() {
    let mut queries: Vec<String> = alerts().iter().map(|alert| str_of(alert, "expr").to_owned()).collect();
    for panel in panels() {
        queries.extend(items(&panel["targets"]).iter().map(|target| str_of(target, "expr").to_owned()));
    }
    let read: BTreeSet<String> =
        queries.iter().flat_map(|query| promql::series(query)).map(|series| series.name).collect();
    let bucket = |name: &str| format!("{name}_bucket");
    let catalogue = catalogue::read();
    let forgotten: Vec<_> =
        catalogue.keys().filter(|name| !read.contains(*name) && !read.contains(&bucket(name))).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[test]
fn every_alert_reads_metrics_that_there_are_and_is_explained() {
    let catalogue = catalogue::read();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = str_of(&alert, "alert");
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        let labels = promql::check(&catalogue, name, str_of(&alert, "expr"));
        assert!(["critical", "warning"].contains(&str_of(&alert["labels"], "severity")), "{name}");
        let notes = &alert["annotations"];
        for text in [str_of(notes, "summary"), str_of(notes, "description")] {
            for used in text.split("$labels.").skip(1) {
                let used = used.split([' ', '}']).next().unwrap();
                assert!(labels.iter().any(|label| label == used), "{name}: nothing has the label {used}");
            }
        }
        let wanted = format!("docs/operations.md#{}", name.to_lowercase());
        assert_eq!(str_of(notes, "runbook_url"), wanted);
    }
}

#[test]
fn prometheus_scrapes_under_the_name_that_the_alerts_know() {
    let settings = yaml("deploy/prometheus/prometheus.yml");
    assert_eq!(items(&settings["rule_files"]), ["alerts.yml"]);
    let jobs: Vec<_> = items(&settings["scrape_configs"]).iter().map(|job| str_of(job, "job_name")).collect();
    assert_eq!(jobs, ["npc-gateway"]);
    let down = alerts().into_iter().find(|alert| alert["alert"] == "NpcGatewayDown").unwrap();
    assert!(str_of(&down, "expr").contains(r#"up{job="npc-gateway"}"#));
}

#[test]
fn grafana_finds_the_dashboard_and_where_its_data_is() {
    let sources = yaml("deploy/grafana/provisioning/datasources/prometheus.yaml");
    let source = &sources["datasources"][0];
    let board = json(DASHBOARD);
    assert_eq!(board["templating"]["list"][0]["current"]["value"], source["uid"]);
    let providers = yaml("deploy/grafana/provisioning/dashboards/npc-gateway.yaml");
    let folder = str_of(&providers["providers"][0]["options"], "path");
    let compose = yaml("deploy/compose.yaml");
    let mounted = format!("./grafana/npc-gateway.json:{folder}/npc-gateway.json:ro");
    assert!(items(&compose["services"]["grafana"]["volumes"]).iter().any(|volume| *volume == mounted));
    assert_eq!(source["url"], "http://prometheus:9090");
    assert!(compose["services"]["prometheus"].is_object());
}

/// Prometheus's own word on the rules, and each alert on made-up series.
#[test]
#[ignore = "wants NPC_GATEWAY_TEST_PROMTOOL, the program promtool"]
fn promtool_takes_the_rules_and_they_fire() {
    let promtool = std::env::var_os("NPC_GATEWAY_TEST_PROMTOOL").expect("NPC_GATEWAY_TEST_PROMTOOL is set");
    let folder = path("deploy/prometheus");
    for words in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let output = Command::new(&promtool).args(words).current_dir(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
    }
}

/// Every alert is made to fire there.
#[test]
fn every_alert_is_tried() {
    let tests = yaml("deploy/prometheus/alerts_test.yml");
    let samples = items(&tests["tests"])
        .iter()
        .flat_map(|test| items(&test["promql_expr_test"]))
        .flat_map(|test| items(&test["exp_samples"]));
    let tried: BTreeSet<_> = samples
        .map(|sample| {
            str_of(sample, "labels").split('"').nth(1).expect("the alert is the first label").to_owned()
        })
        .collect();
    let names: BTreeSet<_> = alerts().iter().map(|alert| str_of(alert, "alert").to_owned()).collect();
    assert_eq!(tried, names);
}
