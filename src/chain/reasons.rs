//! How often turns were answered with what, and why.

use std::sync::atomic::{AtomicU64, Ordering};

use super::snapshot::Routes;
use crate::archetype::Task;
use crate::wire::RouteReason;

/// A counter for each reason, since the start.
#[derive(Debug, Default)]
pub struct Reasons([AtomicU64; RouteReason::ALL.len()]);

impl Reasons {
    pub fn count(&self, reason: RouteReason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often each was told in `turn.started`.
    pub fn counts(&self) -> impl Iterator<Item = (RouteReason, u64)> + '_ {
        RouteReason::ALL.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

/// Why a turn that uses the adapters of `used`, of the tasks that it `wants`, is answered with them, or with none.
pub fn reason(
    routes: &Routes,
    wants: impl Iterator<Item = Task>,
    used: impl Iterator<Item = Task>,
) -> RouteReason {
    let mut used = used.peekable();
    if used.peek().is_some() {
        let on_trial = used.any(|task| routes.is_canary(task));
        return if on_trial { RouteReason::Canary } else { RouteReason::Promoted };
    }
    if routes.is_empty() {
        return RouteReason::NoChain;
    }
    let mut there = wants.filter(|task| routes.adapter(*task).is_some());
    if there.next().is_some() { RouteReason::Weights } else { RouteReason::NoAdapter }
}
