//! Proves a server's wire protocol from outside, by its address alone.
//!
//! The cases are data (`cases/*.json`, see `schemas/README.md`); this is what runs them. Nothing here comes from the
//! gateway: frames are judged by the protocol's page, the JSON Schemas beside it, and the invariants of [`ledger`].

mod case;
mod cli;
#[cfg(test)]
mod coverage;
mod expr;
mod http;
mod ledger;
mod link;
mod pattern;
mod report;
mod run;
mod schema;
mod stop;
mod tokens;
mod turns;
mod wire;

pub use cli::{Options, main};
pub use report::{Outcome, Report, Verdict};
pub use run::run;
