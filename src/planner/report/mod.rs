//! Report: a plan as tables for people, as JSON, as Markdown, and a chart of what more NPCs cost.
//!
//! `sections` says what is told; `plain` and `markdown` write it; `chart` draws; `cases` sets
//! the reference cases beside.

mod cases;
mod chart;
mod escape;
mod markdown;
mod plain;
mod sections;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::fleet::{Fleet, Inputs, PlanError, Request, plan};
use super::input::InputError;
use super::load::Load;
use super::reference;
use super::what_if::{WhatIf, what_if};

pub use cases::reference_cases;
pub use chart::{Chart, Point};
pub use markdown::markdown;
pub use plain::plain;

/// Of the JSON's keys; a reader refuses others.
pub const VERSION: u32 = 1;

/// Largest JSON that is read, in bytes.
const MAX_BYTES: usize = 256 << 20;

/// A figure of the reference design for as many NPCs as it speaks of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    pub npcs: u64,
    pub instance: String,
    /// Servers as the design has it, and as its own formula gives.
    pub servers: u64,
    pub formula_servers: u64,
    pub on_demand_usd_per_month: f64,
    pub spot_usd_per_month: f64,
}

/// All that is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub version: u32,
    pub request: Request,
    pub fleet: Fleet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what_if: Option<WhatIf>,
    /// Where the load is that of the reference design, which has a figure for so many NPCs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

impl Report {
    /// Plans, and plans again with the changes, if there are any.
    ///
    /// # Errors
    /// As [`plan`] and [`what_if`].
    pub fn new(request: Request, changes: &[String], inputs: &Inputs<'_>) -> Result<Self, PlanError> {
        let fleet = plan(&request, inputs)?;
        let second =
            if changes.is_empty() { None } else { Some(what_if(&request, &fleet, changes, inputs)?) };
        let reference =
            references(&request, inputs).into_iter().find(|reference| reference.npcs == fleet.npcs);
        Ok(Self { version: VERSION, request, fleet, what_if: second, reference })
    }

    /// The JSON, indented.
    ///
    /// # Errors
    /// A number that JSON cannot hold.
    pub fn json(&self) -> Result<String, InputError> {
        serde_json::to_string_pretty(self)
            .map_err(|error| InputError::bad("report", error, "numbers that JSON can hold"))
    }

    /// Reads the JSON again; `file` is its name in messages.
    ///
    /// # Errors
    /// More than 256 MiB, no such JSON, or another version.
    pub fn parse(file: &str, text: &str) -> Result<Self, InputError> {
        if text.len() > MAX_BYTES {
            return Err(InputError::bad(file, text.len(), format!("at most {MAX_BYTES} bytes")));
        }
        let report: Self = serde_json::from_str(text)
            .map_err(|error| InputError::bad(file, error, "a plan that `plan --json` wrote"))?;
        super::input::whole(&format!("{file}: version"), u64::from(report.version), 1, u64::from(VERSION))?;
        Ok(report)
    }
}

/// The reference design's figures: none beside another load than its own, and none where the catalogue lacks its type.
fn references(request: &Request, inputs: &Inputs<'_>) -> Vec<Reference> {
    if request.load != Load::reference(request.load.npcs()) {
        return Vec::new();
    }
    let cases = reference::cases(inputs.catalogue).unwrap_or_default();
    let of = |case: reference::Case| Reference {
        npcs: case.npcs,
        instance: reference::INSTANCE.to_owned(),
        servers: case.design.servers,
        formula_servers: case.formula.servers,
        on_demand_usd_per_month: case.design.on_demand_usd_per_month,
        spot_usd_per_month: case.design.spot_usd_per_month,
    };
    cases.into_iter().map(of).collect()
}
