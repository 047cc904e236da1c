//! docs/metrics.md, what a server answers, and what dashboards and alerts ask for: the same names, types, labels and values.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::page::Page;
use crate::server::TestServer;

/// A metric as the page in docs/ has it.
#[derive(Debug)]
struct Documented {
    kind: String,
    /// `None`: the values are names that come from outside.
    labels: BTreeMap<String, Option<BTreeSet<String>>>,
    meaning: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// `` `cause` = queue_full deadline; `model` (of yours) ``.
fn labels(cell: &str) -> BTreeMap<String, Option<BTreeSet<String>>> {
    let label = |text: &str| {
        let (name, rest) = text.trim().strip_prefix('`').and_then(|rest| rest.split_once('`')).unwrap();
        let values = rest.trim().strip_prefix("= ");
        assert!(values.is_some() || rest.trim().starts_with('('), "{cell:?}");
        (name.to_owned(), values.map(|values| values.split(' ').map(str::to_owned).collect()))
    };
    cell.split(';').filter(|text| !text.trim().is_empty()).map(label).collect()
}

/// By the name of a counter's, a gauge's or a histogram's first sample without its suffix.
fn documented() -> BTreeMap<String, Documented> {
    let mut metrics = BTreeMap::new();
    for line in read("docs/metrics.md").lines().filter(|line| line.starts_with("| `npc_gateway_")) {
        let cells = cells(line);
        assert_eq!(cells.len(), 5, "{line}");
        let (kind, name) = (cells[1].to_owned(), cells[0].trim_matches('`'));
        let name = if kind == "counter" {
            name.strip_suffix("_total").unwrap_or_else(|| panic!("{name} is a counter"))
        } else {
            name
        };
        let metric = Documented { kind, labels: labels(cells[2]), meaning: cells[3].to_owned() };
        assert!(metrics.insert(name.to_owned(), metric).is_none(), "{name} stands there twice");
    }
    metrics
}

/// A server that has all of them: one with a model elsewhere.
async fn server(folder: &Path) -> TestServer {
    let models = folder.join("models.toml");
    let text = "[[model]]\nname = \"far\"\nurl = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\nserver = \"openai\"\ncost = 9\n\
                quality = 0.5\n";
    fs::write(&models, text).unwrap();
    let file = format!("models.file={}", models.display());
    TestServer::scripted(&[&file, "models.priority=cost"]).await
}

async fn page() -> Page {
    let folder = tempfile::tempdir().unwrap();
    Page::of(&server(folder.path()).await).await
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let (page, documented) = (page().await, documented());
    let there: BTreeSet<_> = page.0.keys().collect();
    assert_eq!(there, documented.keys().collect(), "what is there, and docs/metrics.md");
    for (name, metric) in &documented {
        let family = &page.0[name];
        assert_eq!(family.kind, metric.kind, "{name}");
        assert!(metric.meaning.len() > 3, "{name} is not explained");
        assert!(!family.samples.is_empty(), "{name} has no series");
        let mut values: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (label, value) in
            family.samples.iter().flat_map(|sample| &sample.labels).filter(|(name, _)| *name != "le")
        {
            values.entry(label).or_default().insert(value.clone());
        }
        let names: Vec<&str> = values.keys().copied().collect();
        assert_eq!(names, metric.labels.keys().map(String::as_str).collect::<Vec<_>>(), "labels of {name}");
        for (label, documented) in &metric.labels {
            // All of a closed list are there from the first scrape on, but of a build there is one.
            if name == "npc_gateway_build_info" {
                assert_eq!(values[label.as_str()].len(), 1);
            } else if let Some(documented) = documented {
                assert_eq!(&values[label.as_str()], documented, "{label} of {name}");
            }
        }
        for label in metric.labels.keys() {
            let whose = ["player", "npc", "turn", "session"];
            assert!(!whose.contains(&label.as_str()), "{name} is counted by {label}");
        }
    }
}

#[tokio::test]
async fn units_stand_in_the_names() {
    for (name, family) in page().await.0 {
        if family.kind == "histogram" {
            assert!(name.ends_with("_seconds"), "{name}");
        }
        assert!(!name.ends_with("_ms") && !name.ends_with("_mb") && !name.ends_with("_total"), "{name}");
    }
}

#[tokio::test]
async fn the_buckets_are_those_of_the_page() {
    let page = page().await;
    let mut documented = BTreeSet::new();
    let text = read("docs/metrics.md");
    let (_, table) = text.split_once("## Buckets").unwrap();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells = cells(line);
        let wanted: Vec<f64> = cells[1].split(' ').map(|bound| bound.parse().unwrap()).collect();
        for name in cells[0].split(' ').map(|name| name.trim_matches('`')) {
            let name = format!("npc_gateway_{name}_seconds");
            let family = page.0.get(&name).unwrap_or_else(|| panic!("there is no {name}"));
            let bounds: BTreeSet<String> =
                family.samples.iter().filter_map(|sample| sample.labels.get("le").cloned()).collect();
            let mut bounds: Vec<f64> = bounds.iter().map(|bound| bound.parse().unwrap()).collect();
            bounds.sort_by(f64::total_cmp);
            assert_eq!(bounds.pop(), Some(f64::INFINITY));
            assert_eq!(bounds, wanted, "{name}");
            documented.insert(name);
        }
    }
    let histograms = page.0.iter().filter(|(_, family)| family.kind == "histogram");
    assert_eq!(histograms.map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(), documented);
}

/// The files that ask for metrics.
fn askers() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("deploy/grafana"), root().join("deploy/prometheus")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.push(root().join("docs/operations.md"));
    files.sort();
    files
}

/// A label, an operator and a value.
type Matcher = (String, String, String);

/// Every place where a metric is named: its name, and the matchers behind it.
fn asked(text: &str) -> Vec<(String, Vec<Matcher>)> {
    let text = text.replace("\\\"", "\"");
    let mut found = Vec::new();
    for (at, _) in text.match_indices("npc_gateway_") {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
        if text[..at].bytes().next_back().is_some_and(is_word) {
            continue;
        }
        let rest = &text[at..];
        let end = rest.bytes().position(|byte| !is_word(byte)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let inside = behind.strip_prefix('{').and_then(|behind| behind.split_once('}'));
        let matchers = inside.map(|(inside, _)| matchers(inside)).unwrap_or_default();
        found.push((name.to_owned(), matchers));
    }
    found
}

fn matchers(text: &str) -> Vec<Matcher> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((label, behind)) = rest.split_once(['=', '!']) {
        let (operator, behind) = behind.split_once('"').unwrap();
        let (value, behind) = behind.split_once('"').unwrap();
        let operator = if operator.contains('~') { "=~" } else { "=" };
        found.push((label.trim_matches([',', ' ']).to_owned(), operator.to_owned(), value.to_owned()));
        rest = behind;
    }
    found
}

/// Labels that whoever scrapes adds.
const ADDED: [&str; 2] = ["job", "instance"];

#[tokio::test]
async fn what_dashboards_and_alerts_ask_for_is_there() {
    let (page, documented) = (page().await, documented());
    let names = page.sample_names();
    let mut seen = BTreeSet::new();
    for file in askers() {
        let text = fs::read_to_string(&file).unwrap();
        for (name, matchers) in asked(&text) {
            // A word for many, as in prose: `npc_gateway_engine_…`.
            if name.ends_with('_') {
                continue;
            }
            assert!(names.contains(&name), "{}: there is no {name}", file.display());
            let base = |(base, _): &(&String, &Documented)| {
                let kind = &documented[*base].kind;
                super::page::suffixes(kind).iter().any(|suffix| format!("{base}{suffix}") == name)
            };
            let (_, metric) = documented.iter().find(base).unwrap();
            for (label, operator, value) in matchers {
                if ADDED.contains(&label.as_str()) || label == "le" || value.contains('$') {
                    continue;
                }
                let Some(values) = metric.labels.get(&label) else {
                    panic!("{}: {name} has no label {label}", file.display());
                };
                let Some(values) = values else { continue };
                let wanted: Vec<&str> =
                    if operator == "=~" { value.split('|').collect() } else { vec![&value] };
                for value in wanted.into_iter().filter(|value| !value.contains(['.', '*', '+', '['])) {
                    assert!(values.contains(value), "{}: {name} has no {label}={value:?}", file.display());
                }
            }
            seen.insert(name);
        }
    }
    assert!(seen.len() > 30, "dashboards and alerts ask for {} metrics alone", seen.len());
}

#[test]
fn what_is_asked_is_found() {
    let text = r#"rate(npc_gateway_turns_done_total{reason="error", job=\"x\"}[5m]) / npc_gateway_ready !~ job:npc_gateway_x"#;
    let found = asked(text);
    assert_eq!(
        found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["npc_gateway_turns_done_total", "npc_gateway_ready"]
    );
    let matcher = |label: &str, value: &str| (label.to_owned(), "=".to_owned(), value.to_owned());
    assert_eq!(found[0].1, [matcher("reason", "error"), matcher("job", "x")]);
    assert_eq!(matchers(r#"code=~"4...",op!="say""#)[0].1, "=~");
}
