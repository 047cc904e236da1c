//! Archetypes on their way to adapters.

use std::fmt;

use super::bounds;
use super::by::By;
use super::kinds::Histogram;
use super::labels::label;
use super::page::Page;

/// A state that is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    Training,
    Evaluating,
    Loading,
    Registered,
    Available,
    Rejected,
}

label!(Reached, "state" {
    Training = "training",
    Evaluating = "evaluating",
    Loading = "loading",
    Registered = "registered",
    Available = "available",
    Rejected = "rejected",
});

/// A state that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Requested,
    Training,
    Evaluating,
    Loading,
    Registered,
}

label!(Left, "state" {
    Requested = "requested",
    Training = "training",
    Evaluating = "evaluating",
    Loading = "loading",
    Registered = "registered",
});

/// See the module's documentation.
#[derive(Debug)]
pub struct ProvisionMetrics {
    pub steps: By<Reached>,
    /// Time spent in a state.
    pub states: By<Left, Histogram>,
}

impl Default for ProvisionMetrics {
    fn default() -> Self {
        Self { steps: By::default(), states: By::histograms(bounds::PROVISION) }
    }
}

impl ProvisionMetrics {
    /// Writes all of it.
    ///
    /// # Errors
    /// Of the page's writer.
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.by("provisioning_steps", "How often a state was reached", &self.steps)?;
        page.histograms_by("provisioning_state_seconds", "Time spent in a state that was left", &self.states)
    }
}
