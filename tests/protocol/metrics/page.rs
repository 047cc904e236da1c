//! A page of OpenMetrics text, read strictly: what is not as the format has it fails the test.

use std::collections::{BTreeMap, BTreeSet};

use crate::http::ask;
use crate::server::TestServer;

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With its suffix.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// By the name without a suffix.
#[derive(Debug, Clone, PartialEq)]
pub struct Page(pub BTreeMap<String, Family>);

/// What a sample of each kind is called behind the metric's name.
pub fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        other => panic!("no metric is a {other}"),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for pair in text.split("\",") {
        let (name, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{pair:?} is no label"));
        let value = value.strip_suffix('"').unwrap_or(value);
        assert!(is_name(name) && !value.contains(['"', '\\', '\n']), "{pair:?}");
        assert!(labels.insert(name.to_owned(), value.to_owned()).is_none(), "{name} twice: {text}");
    }
    labels
}

impl Page {
    pub fn parse(text: &str) -> Self {
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut current: Option<String> = None;
        let mut helped: Option<(String, String)> = None;
        let body = text.strip_suffix("# EOF\n").expect("the page ends with its mark");
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
                helped = Some((name.to_owned(), help.to_owned()));
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
                let (same, help) = helped.take().unwrap_or_else(|| panic!("no help before {line:?}"));
                assert!(same == name && is_name(name) && !help.is_empty(), "{line:?}");
                suffixes(kind);
                let family = Family { kind: kind.to_owned(), help, samples: Vec::new() };
                assert!(families.insert(name.to_owned(), family).is_none(), "{name} is there twice");
                current = Some(name.to_owned());
            } else {
                let name = current.as_ref().unwrap_or_else(|| panic!("nothing before {line:?}"));
                let family = families.get_mut(name).unwrap();
                let sample = Self::sample(line);
                let suffix = sample
                    .name
                    .strip_prefix(name.as_str())
                    .unwrap_or_else(|| panic!("{line:?} below {name}"));
                assert!(
                    suffixes(&family.kind).contains(&suffix),
                    "{line:?} is no sample of a {}",
                    family.kind
                );
                let same = |other: &Sample| (&other.name, &other.labels) == (&sample.name, &sample.labels);
                assert!(!family.samples.iter().any(same), "twice: {line:?}");
                assert!(family.kind == "gauge" || sample.value >= 0.0, "{line:?}");
                family.samples.push(sample);
            }
        }
        let page = Self(families);
        page.0
            .iter()
            .filter(|(_, family)| family.kind == "histogram")
            .for_each(|(name, family)| check(name, family));
        page
    }

    fn sample(line: &str) -> Sample {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?} has no value"));
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => {
                (name, labels(rest.strip_suffix('}').unwrap_or_else(|| panic!("{line:?}"))))
            }
            None => (series, BTreeMap::new()),
        };
        assert!(is_name(name), "{line:?}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line:?}"));
        Sample { name: name.to_owned(), labels, value }
    }

    /// Scrapes a server.
    pub async fn of(server: &TestServer) -> Self {
        let answer = ask(server, "GET", "/metrics", &[], "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(answer.headers["content-type"], kind);
        Self::parse(answer.text())
    }

    /// The sum of the samples of this name (without `npc_gateway_`, with the suffix) that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let name = format!("npc_gateway_{name}");
        let mut found = self
            .0
            .values()
            .flat_map(|family| &family.samples)
            .filter(|sample| sample.name == name)
            .peekable();
        assert!(found.peek().is_some(), "there is no {name}");
        let has = |sample: &&Sample| {
            labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|own| own == value))
        };
        let mut matching = found.filter(has).peekable();
        assert!(matching.peek().is_some(), "there is no {name} with {labels:?}");
        matching.map(|sample| sample.value).sum()
    }

    /// Every name of a sample that there may be.
    pub fn sample_names(&self) -> BTreeSet<String> {
        let names = |(name, family): (&String, &Family)| {
            suffixes(&family.kind).iter().map(|suffix| format!("{name}{suffix}")).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(names).collect()
    }
}

/// Buckets ascend, in their bounds and in their counts, and the last one holds all.
fn check(name: &str, family: &Family) {
    let mut series: BTreeMap<BTreeMap<String, String>, Vec<&Sample>> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        labels.remove("le");
        series.entry(labels).or_default().push(sample);
    }
    for (labels, samples) in series {
        let of = |suffix: &str| {
            samples
                .iter()
                .filter(|sample| sample.name == format!("{name}{suffix}"))
                .copied()
                .collect::<Vec<_>>()
        };
        let (buckets, sums, counts) = (of("_bucket"), of("_sum"), of("_count"));
        assert_eq!((sums.len(), counts.len()), (1, 1), "{name} {labels:?}");
        let bounds: Vec<f64> = buckets.iter().map(|bucket| bucket.labels["le"].parse().unwrap()).collect();
        assert!(bounds.is_sorted_by(|a, b| a < b), "{name}: {bounds:?}");
        assert_eq!(buckets.last().unwrap().labels["le"], "+Inf", "{name}");
        assert!(buckets.is_sorted_by(|a, b| a.value <= b.value), "{name}: {buckets:?}");
        assert_eq!(buckets.last().unwrap().value, counts[0].value, "{name} {labels:?}");
    }
}
