//! How many servers a game's characters need, which ones, and what they cost.
//!
//! ```text
//! input       what the inputs may be, and what is said of one that cannot be used
//! models      named base models: their architectures and where these come from
//! memory      bytes of weights, of keys and values, and of adapters
//! instances   machines of a cloud: memory, rates, prices
//! load        requests and tokens a second, of NPCs by archetype over a day
//! steps       how long a step of the engine takes
//! measured    what `bench` measured, and what is assumed where nothing was
//! capacity    what a device does in a second within the latency targets
//! packing     chains on servers, so that no limit is passed and the bill is small
//! fleet       a request becomes chains, these become servers with their cost
//! simulation  how long players wait: a server under a load, on the engine's real scheduler
//! what_if     a second plan with changes, and what they come to
//! report      a plan as a table, JSON, Markdown and a chart
//! reference   the reference design's figures, and what of them holds
//! ```

pub mod capacity;
pub mod fleet;
mod input;
pub mod instances;
pub mod load;
pub mod measured;
pub mod memory;
pub mod models;
pub mod packing;
pub mod reference;
pub mod report;
pub mod simulation;
pub mod steps;
pub mod what_if;

pub use input::InputError;
