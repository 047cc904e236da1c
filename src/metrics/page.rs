//! The page that is scraped, in OpenMetrics text.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::by::{By, By2};
use super::kinds::{Counter, Histogram};
use super::labels::Label;
use super::names::ByName;

/// What is written: names without `npc_gateway_`, and counters' without `_total`.
#[derive(Debug)]
pub struct Page<'a>(DescriptorEncoder<'a>);

impl<'a> Page<'a> {
    pub fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    fn begin<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    pub fn counter(&mut self, name: &str, help: &str, counter: &Counter) -> fmt::Result {
        self.count(name, help, counter.get())
    }

    /// A counter that is counted elsewhere.
    pub fn count(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        count_in(&mut self.begin(name, help, MetricType::Counter)?, count)
    }

    /// A counter of seconds.
    pub fn seconds(&mut self, name: &str, help: &str, seconds: f64) -> fmt::Result {
        let mut metric = self.begin(name, help, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&seconds, None)
    }

    /// Counters with labels that are counted elsewhere.
    pub fn counts<'s>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Vec<(&'static str, &'s str)>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, help, MetricType::Counter)?;
        series
            .into_iter()
            .try_for_each(|(labels, count)| count_in(&mut metric.encode_family(&labels)?, count))
    }

    pub fn by<L: Label>(&mut self, name: &str, help: &str, by: &By<L>) -> fmt::Result {
        let series = by.each().map(|(value, counter)| (vec![(L::NAME, value.value())], counter.get()));
        self.counts(name, help, series)
    }

    pub fn by2<A: Label, B: Label>(&mut self, name: &str, help: &str, by: &By2<A, B>) -> fmt::Result {
        let labels = |a: A, b: B| vec![(A::NAME, a.value()), (B::NAME, b.value())];
        self.counts(name, help, by.each().map(|(a, b, counter)| (labels(a, b), counter.get())))
    }

    pub fn by_name(&mut self, name: &str, help: &str, label: &'static str, by: &ByName) -> fmt::Result {
        let counts = by.counts();
        self.counts(name, help, counts.iter().map(|(value, count)| (vec![(label, value.as_str())], *count)))
    }

    /// A gauge of things that are counted.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl TryInto<i64>) -> fmt::Result {
        let value: i64 = value.try_into().unwrap_or(i64::MAX);
        self.begin(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A gauge that is 1 or 0.
    pub fn flag(&mut self, name: &str, help: &str, value: bool) -> fmt::Result {
        self.gauge(name, help, i64::from(value))
    }

    /// A gauge that is no whole number.
    pub fn float(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.begin(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    pub fn gauges<'s>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Vec<(&'static str, &'s str)>, f64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, help, MetricType::Gauge)?;
        series.into_iter().try_for_each(|(labels, value)| metric.encode_family(&labels)?.encode_gauge(&value))
    }

    /// A gauge for each of these states: 1 for the one that holds.
    pub fn state(&mut self, name: &str, help: &str, states: &[&'static str], now: &str) -> fmt::Result {
        let value = |state: &str| if state == now { 1.0 } else { 0.0 };
        self.gauges(name, help, states.iter().map(|state| (vec![("state", *state)], value(state))))
    }

    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        spread_in(&mut self.begin(name, help, MetricType::Histogram)?, histogram)
    }

    pub fn histograms<'s, 'h>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Vec<(&'static str, &'s str)>, &'h Histogram)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, help, MetricType::Histogram)?;
        let mut series = series.into_iter();
        series.try_for_each(|(labels, histogram)| spread_in(&mut metric.encode_family(&labels)?, histogram))
    }

    pub fn histograms_by<L: Label>(&mut self, name: &str, help: &str, by: &By<L, Histogram>) -> fmt::Result {
        self.histograms(name, help, by.each().map(|(value, one)| (vec![(L::NAME, value.value())], one)))
    }
}

fn count_in(metric: &mut MetricEncoder<'_>, count: u64) -> fmt::Result {
    metric.encode_counter::<NoLabelSet, _, f64>(&count, None)
}

fn spread_in(metric: &mut MetricEncoder<'_>, histogram: &Histogram) -> fmt::Result {
    let (sum, buckets) = histogram.get();
    let count = buckets.iter().map(|(_, count)| count).sum();
    metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}
