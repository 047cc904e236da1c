//! Which series a query reads, and with which labels; not a parser of all the rest.

use crate::catalogue::{Catalogue, find};

/// Labels that Prometheus gives to all series, and the one of buckets.
const OF_PROMETHEUS: [&str; 3] = ["instance", "job", "le"];

/// A series that a query reads.
#[derive(Debug, PartialEq)]
pub struct Series {
    pub name: String,
    /// Label, operator, values (those of a regular expression that is a list of them).
    pub matchers: Vec<(String, String, Vec<String>)>,
}

/// All series of ours in a query.
pub fn series(query: &str) -> Vec<Series> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(at) = rest.find("npc_gateway_") {
        rest = &rest[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let inner = behind.strip_prefix('{').map(|text| text.split_once('}').expect("a brace is closed").0);
        found.push(Series { name: name.to_owned(), matchers: inner.map(matchers).unwrap_or_default() });
        rest = behind;
    }
    found
}

fn matchers(text: &str) -> Vec<(String, String, Vec<String>)> {
    let mut parts = Vec::new();
    // No value of ours has a comma in it.
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let at = part.find(['=', '!']).unwrap_or_else(|| panic!("no operator in {part}"));
        let (label, rest) = part.split_at(at);
        let (operator, value) = rest.split_once('"').unwrap_or_else(|| panic!("no value in {part}"));
        let values = value.trim_end_matches('"').split('|').map(str::to_owned).collect();
        parts.push((label.trim().to_owned(), operator.trim().to_owned(), values));
    }
    parts
}

/// Checks that all series of a query are in the catalogue, with these labels and values. Returns their metrics' labels.
pub fn check(catalogue: &Catalogue, place: &str, query: &str) -> Vec<String> {
    let mut known: Vec<String> = OF_PROMETHEUS.map(str::to_owned).into();
    for Series { name, matchers } in series(query) {
        let metric = find(catalogue, &name);
        let metric = metric.unwrap_or_else(|| panic!("{place}: docs/metrics.md has no series {name}"));
        known.extend(metric.labels.keys().cloned());
        for (label, _, values) in matchers {
            if OF_PROMETHEUS.contains(&label.as_str()) {
                continue;
            }
            let may = metric.labels.get(&label);
            let may = may.unwrap_or_else(|| panic!("{place}: {name} has no label {label}"));
            let unknown = values.iter().find(|value| may.as_ref().is_some_and(|may| !may.contains(*value)));
            assert_eq!(unknown, None, "{place}: {label} of {name} is never this");
        }
    }
    // `by (a, b)` and its kin.
    for word in ["by (", "on (", "ignoring ("] {
        for list in query.split(word).skip(1) {
            let list = list.split_once(')').expect("a parenthesis is closed").0;
            for label in list.split(',').map(str::trim) {
                assert!(known.iter().any(|known| known == label), "{place}: nothing has the label {label}");
            }
        }
    }
    known
}

#[test]
fn series_and_labels_are_found() {
    let found = series(r#"sum by (a) (rate(npc_gateway_x_total{a="1", b=~"2|3"}[5m])) / npc_gateway_y == 0"#);
    let of = |label: &str, operator: &str, values: &[&str]| {
        (label.to_owned(), operator.to_owned(), values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>())
    };
    let x = Series {
        name: "npc_gateway_x_total".into(),
        matchers: vec![of("a", "=", &["1"]), of("b", "=~", &["2", "3"])],
    };
    assert_eq!(found, [x, Series { name: "npc_gateway_y".into(), matchers: Vec::new() }]);
}

#[test]
#[should_panic(expected = "reason of npc_gateway_turns_done_total is never this")]
fn a_value_that_never_comes_is_seen() {
    check(&crate::catalogue::read(), "here", r#"npc_gateway_turns_done_total{reason="failed"}"#);
}

#[test]
#[should_panic(expected = "docs/metrics.md has no series npc_gateway_turns_total")]
fn a_metric_that_is_not_there_is_seen() {
    check(&crate::catalogue::read(), "here", "rate(npc_gateway_turns_total[5m])");
}
