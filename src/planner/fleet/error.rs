//! Why there is no plan: which constraint, and by how much.

use super::super::capacity::TooSlow;
use super::super::input::InputError;
use super::super::memory::DoesNotFit;
use super::super::packing::PackError;
use super::Unfit;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(
        "archetype {archetype} on {model} is too large for every instance type; the nearest is {instance}, whose limit is \
         {dimension} ({device}): {source}"
    )]
    TooLarge {
        archetype: String,
        model: String,
        instance: String,
        device: String,
        /// `GPU memory` or `RAM`.
        dimension: &'static str,
        source: Box<DoesNotFit>,
    },
    #[error(
        "archetype {archetype} on {model} is too slow on every instance type that holds it; the nearest is {instance}: {source}"
    )]
    TooSlow { archetype: String, model: String, instance: String, source: Box<TooSlow> },
    #[error(
        "archetype {archetype}: its conversations take more than {limit} replicas even on {instance}, and that is the most"
    )]
    TooManyReplicas { archetype: String, instance: String, limit: u64 },
    #[error(
        "no instance type holds every archetype of {what} within the targets; the nearest is {instance}, where {archetype} \
         on {model} is the one that fails: {source}"
    )]
    NothingCommon {
        /// The base models that were tried together.
        what: String,
        instance: String,
        archetype: String,
        model: String,
        source: Box<Unfit>,
    },
    #[error("instances: {0}")]
    Packing(#[source] Box<PackError>),
}

impl From<PackError> for PlanError {
    fn from(error: PackError) -> Self {
        Self::Packing(Box::new(error))
    }
}
