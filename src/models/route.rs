//! Which model answers. A function of figures, and of nothing else: the same figures give the same choice, with the reason.

use std::cmp::Ordering;
use std::fmt::Write;

use super::latency::Latency;
use crate::config::Priority;

/// A model that may answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate<'a> {
    pub name: &'a str,
    /// What a million tokens cost, in any currency, the same for all.
    pub cost: f64,
    /// 0 to 1.
    pub quality: f64,
    /// `None`: it was not measured, or not lately.
    pub latency: Option<Latency>,
    /// Why it may not be asked.
    pub closed: Option<&'static str>,
}

/// Which models to ask, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Their places in the list, the first choice first. Those that may not be asked are left out.
    pub order: Vec<usize>,
    pub reason: String,
}

/// Orders the models for a priority. Where it makes no difference, the other figures decide, and at last the place in the
/// list. A model that was not measured counts as the fastest, so that it is measured.
pub fn decide(priority: Priority, candidates: &[Candidate<'_>]) -> Decision {
    let open: Vec<usize> = (0..candidates.len()).filter(|&at| candidates[at].closed.is_none()).collect();
    let known = |at: usize| candidates[at].latency.map(|latency| latency.line_ms());
    let fastest = open.iter().filter_map(|&at| known(at)).fold(f64::INFINITY, f64::min);
    let line_ms = |at: usize| known(at).unwrap_or(if fastest.is_finite() { fastest } else { 0.0 });
    let [ms, cost, doubt] = [
        Scale::of(open.iter().map(|&at| line_ms(at))),
        Scale::of(open.iter().map(|&at| candidates[at].cost)),
        Scale::of(open.iter().map(|&at| 1.0 - candidates[at].quality)),
    ];
    let score = |at: usize| {
        let Candidate { cost: own, quality, .. } = candidates[at];
        ms.place(line_ms(at)) + cost.place(own) + doubt.place(1.0 - quality)
    };
    // The smaller the better, the first figure first.
    let key = |at: usize| {
        // Told apart from the fastest one that is known, so that it is asked first.
        let time = known(at).unwrap_or(0.0);
        let Candidate { cost, quality, .. } = candidates[at];
        match priority {
            Priority::Latency => [time, cost, -quality],
            Priority::Cost => [cost, time, -quality],
            Priority::Quality => [-quality, time, cost],
            Priority::Balanced => [score(at), time, cost],
        }
    };
    let mut order = open;
    order.sort_by(|&a, &b| {
        let (a, b) = (key(a), key(b));
        a.iter().zip(&b).map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    });
    let reason = reason(priority, candidates, &order, score);
    Decision { order, reason }
}

fn reason(
    priority: Priority,
    candidates: &[Candidate<'_>],
    order: &[usize],
    score: impl Fn(usize) -> f64,
) -> String {
    let mut text = String::new();
    for (nth, &at) in order.iter().enumerate() {
        let Candidate { name, cost, quality, latency, .. } = &candidates[at];
        let join = if nth == 0 { "" } else { " before " };
        let time =
            latency.map_or("not measured".to_owned(), |latency| format!("{:.0} ms", latency.line_ms()));
        // Writing into a text does not fail.
        let _ = match priority {
            Priority::Latency => write!(text, "{join}{name} ({time})"),
            Priority::Cost => write!(text, "{join}{name} (cost {cost})"),
            Priority::Quality => write!(text, "{join}{name} (quality {quality})"),
            Priority::Balanced => {
                write!(text, "{join}{name} ({time}, cost {cost}, quality {quality}: {:.2})", score(at))
            }
        };
    }
    for Candidate { name, closed, .. } in candidates {
        if let Some(why) = closed {
            let _ = write!(text, "; not {name} ({why})");
        }
    }
    format!("{}: {text}", format!("{priority:?}").to_lowercase())
}

/// The span of a figure over all models, so that figures of different kinds can be added.
struct Scale {
    least: f64,
    span: f64,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        Self { least, span: most - least }
    }

    /// 0 for the best one, 1 for the worst.
    fn place(&self, value: f64) -> f64 {
        if self.span > 0.0 && self.span.is_finite() { (value - self.least) / self.span } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(name: &'static str, cost: f64, quality: f64, line_ms: Option<f64>) -> Candidate<'static> {
        let latency = line_ms.map(|first_ms| Latency { first_ms, tokens_per_s: f64::INFINITY });
        Candidate { name, cost, quality, latency, closed: None }
    }

    fn three() -> [Candidate<'static>; 3] {
        [
            candidate("local", 0.0, 0.3, Some(500.0)),
            candidate("near", 0.2, 0.6, Some(300.0)),
            candidate("far", 2.0, 0.9, Some(900.0)),
        ]
    }

    fn names(priority: Priority, candidates: &[Candidate<'static>]) -> Vec<&'static str> {
        decide(priority, candidates).order.into_iter().map(|at| candidates[at].name).collect()
    }

    #[test]
    fn each_priority_puts_its_own_figure_first() {
        assert_eq!(names(Priority::Latency, &three()), ["near", "local", "far"]);
        assert_eq!(names(Priority::Cost, &three()), ["local", "near", "far"]);
        assert_eq!(names(Priority::Quality, &three()), ["far", "near", "local"]);
        // 0.33+0+1, 0+0.1+0.5, 1+1+0.
        assert_eq!(names(Priority::Balanced, &three()), ["near", "local", "far"]);
    }

    #[test]
    fn where_the_figure_is_the_same_the_others_decide() {
        let alike = [
            candidate("a", 1.0, 0.5, Some(10.0)),
            candidate("b", 1.0, 0.5, Some(5.0)),
            candidate("c", 1.0, 0.6, Some(5.0)),
        ];
        assert_eq!(names(Priority::Cost, &alike), ["c", "b", "a"]);
        let same = [candidate("a", 1.0, 0.5, None), candidate("b", 1.0, 0.5, None)];
        for priority in [Priority::Latency, Priority::Cost, Priority::Quality, Priority::Balanced] {
            assert_eq!(names(priority, &same), ["a", "b"]);
        }
    }

    #[test]
    fn one_that_was_not_measured_is_tried() {
        let mut candidates = three();
        candidates[2].latency = None;
        assert_eq!(names(Priority::Latency, &candidates)[0], "far");
        // But not whatever it costs.
        assert_eq!(names(Priority::Balanced, &candidates)[0], "near");
    }

    #[test]
    fn one_that_may_not_be_asked_is_left_out_and_the_reason_says_why() {
        let mut candidates = three();
        candidates[1].closed = Some("circuit open");
        let decision = decide(Priority::Latency, &candidates);
        assert_eq!(decision.order, [0, 2]);
        assert_eq!(decision.reason, "latency: local (500 ms) before far (900 ms); not near (circuit open)");
        assert_eq!(decide(Priority::Cost, &[]).order, Vec::<usize>::new());
    }

    proptest! {
        /// Whatever the figures are, the order holds each model once that may be asked, and the first is not beaten by
        /// another one in all three figures.
        #[test]
        fn the_choice_is_never_beaten_in_everything(
            figures in prop::collection::vec((0.0..10.0_f64, 0.0..1.0_f64, 1.0..5000.0_f64, any::<bool>()), 1..8),
            priority in prop::sample::select(vec![Priority::Latency, Priority::Cost, Priority::Quality, Priority::Balanced]),
        ) {
            let candidates: Vec<_> = figures.iter().map(|&(cost, quality, ms, closed)| Candidate {
                closed: closed.then_some("circuit open"),
                ..candidate("m", cost, quality, Some(ms))
            }).collect();
            let mut order = decide(priority, &candidates).order;
            let first = order.first().copied();
            order.sort_unstable();
            let open: Vec<usize> = (0..candidates.len()).filter(|&at| candidates[at].closed.is_none()).collect();
            prop_assert_eq!(&order, &open);
            if let Some(first) = first {
                let (cost, quality, ms, _) = figures[first];
                for &at in &open {
                    let other = figures[at];
                    prop_assert!(!(other.0 < cost && other.1 > quality && other.2 < ms));
                }
            }
        }
    }
}
