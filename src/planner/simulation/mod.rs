//! One server under a load, event by event: the engine's real queue and scheduler over steps that take as long as
//! measured ones.
//!
//! ```text
//! traffic     who says something when, and what is asked of the engine then
//! run         the events: lines come, and steps end
//! turns       what a line and its choices ask of the engine, and when the next begins
//! tally       what is counted, and the figures of it
//! fleet       many equal servers
//! ```
//!
//! A turn is what the gateway makes of an action: the line, with three adapters mixed, and its choices behind it in the
//! background, each with an adapter of its own. An NPC answers one line at a time; the next waits in its mailbox. What is
//! kept of prompts is kept by the scheduler itself: with more conversations than the server keeps, prompts are colder
//! than the load says.

mod fleet;
mod run;
mod tally;
#[cfg(test)]
mod tests;
mod traffic;
mod turns;

use serde::{Deserialize, Serialize};

use super::input::{self, InputError};
use super::load::ArchetypeLoad;
use super::steps::StepTimes;
use traffic::Traffic;

pub use fleet::fleet;
pub use tally::{Lines, Percentiles, Simulated};

/// Longest simulated time, in seconds: a day.
const MAX_SECONDS: f64 = 86_400.0;

/// Requests of one simulation, lines and choices together. Bounds its memory and its time.
const MAX_REQUESTS: f64 = 20e6;

/// NPCs of one simulation: so many that each has token ids of its own.
const MAX_NPCS: u64 = 30_000_000;

/// A server that is simulated. The names are those of the gateway's settings where there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub steps: StepTimes,
    /// Requests that are computed at the same time, 1 to 65,536.
    pub rows: usize,
    /// Sequences that stay after their request, 0 to 1,000,000.
    pub kept: usize,
    /// Sequences of the decoder: rows, kept ones, and those for the options of choices; at least `rows`.
    pub sequences: usize,
    /// Tokens of one sequence, 2 to 1,048,576.
    pub context: usize,
    /// Prompt tokens in one step, 1 to 1,048,576.
    pub prefill_budget: usize,
    /// Requests that wait for a row, 1 to 1,000,000.
    pub queue: usize,
    /// What the gateway adds to the first token beyond the engine, in seconds, 0 to 60: the way of the line to the
    /// engine, and of the token to the player.
    pub turn_overhead_s: f64,
    pub admission: Admission,
}

/// For how long a line waits, and who is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Admission {
    /// `turn.queue_timeout_ms`, in seconds, 0 to 600.
    pub queue_timeout_s: f64,
    /// `engine.overload_after_ms`, in seconds, 0 to 600.
    pub overload_after_s: f64,
    /// `engine.overload_wait_ms`, in seconds, 0 to 600.
    pub overload_wait_s: f64,
    /// `turn.tracks_timeout_ms`, in seconds, 0 to 60: how long the end of a turn waits for its choices.
    pub tracks_timeout_s: f64,
    /// `npc.mailbox`: lines of one NPC that wait or are answered, 1 to 1024.
    pub mailbox: usize,
}

impl Default for Admission {
    /// As in `config/default.toml`.
    fn default() -> Self {
        Self {
            queue_timeout_s: 5.0,
            overload_after_s: 1.0,
            overload_wait_s: 0.1,
            tracks_timeout_s: 1.0,
            mailbox: 16,
        }
    }
}

/// What comes to a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrivals {
    pub archetypes: Vec<ArchetypeLoad>,
    /// For how long it is counted, in seconds, above 0.
    pub seconds: f64,
    /// What comes before, in seconds: conversations become warm in it. Together at most a day.
    pub warm_up_s: f64,
    /// Same seed, same result.
    pub seed: u64,
    pub process: Process,
}

/// When actions come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Process {
    /// Every NPC acts on its own, at random times that are on average as far apart as its archetype says.
    Open,
    /// So many clients, 1 to 65,536, each with an NPC of its own: each says its next line when the last turn has ended,
    /// after `think_s` on average, 0 to 3600. How often NPCs act is not looked at, their number only says which share of
    /// the clients has which archetype.
    Closed { clients: usize, think_s: f64 },
}

/// Simulates a server.
///
/// # Errors
/// A value outside its range, a load in which nobody acts or whose prompts do not fit into the context beside their
/// answers, or one of more than 20 million requests. The message names the field and its limits.
pub fn simulate(server: &Server, arrivals: &Arrivals) -> Result<Simulated, InputError> {
    Ok(tally(server, arrivals)?.figures(1.0))
}

fn tally(server: &Server, arrivals: &Arrivals) -> Result<tally::Tally, InputError> {
    server.check("server")?;
    arrivals.check("arrivals")?;
    let traffic = Traffic::new(arrivals, server.context)?;
    run::run(server, arrivals, &traffic)
}

impl Server {
    /// Checks the ranges; `key` is what messages put before a field's name.
    pub fn check(&self, key: &str) -> Result<(), InputError> {
        self.steps.check(&format!("{key}.steps"))?;
        for (field, value, low, high) in [
            ("rows", self.rows, 1, 1 << 16),
            ("kept", self.kept, 0, 1_000_000),
            ("sequences", self.sequences, self.rows.max(1), 1 << 21),
            ("context", self.context, 2, 1 << 20),
            ("prefill_budget", self.prefill_budget, 1, 1 << 20),
            ("queue", self.queue, 1, 1_000_000),
            ("admission.mailbox", self.admission.mailbox, 1, 1024),
        ] {
            input::whole(&format!("{key}.{field}"), value as u64, low as u64, high as u64)?;
        }
        for (field, value, high) in [
            ("turn_overhead_s", self.turn_overhead_s, 60.0),
            ("admission.queue_timeout_s", self.admission.queue_timeout_s, 600.0),
            ("admission.overload_after_s", self.admission.overload_after_s, 600.0),
            ("admission.overload_wait_s", self.admission.overload_wait_s, 600.0),
            ("admission.tracks_timeout_s", self.admission.tracks_timeout_s, 60.0),
        ] {
            input::number(&format!("{key}.{field}"), value, 0.0, high)?;
        }
        Ok(())
    }
}

impl Arrivals {
    fn check(&self, key: &str) -> Result<(), InputError> {
        input::number(&format!("{key}.seconds"), self.seconds, 1e-3, MAX_SECONDS)?;
        input::number(&format!("{key}.warm_up_s"), self.warm_up_s, 0.0, MAX_SECONDS)?;
        input::whole(&format!("{key}.archetypes (how many)"), self.archetypes.len() as u64, 1, 10_000)?;
        for (index, archetype) in self.archetypes.iter().enumerate() {
            archetype.check(&format!("{key}.archetypes[{index}]"))?;
        }
        let npcs = self.archetypes.iter().map(|archetype| archetype.npcs).sum();
        input::whole(&format!("{key}.archetypes.npcs (of all)"), npcs, 1, MAX_NPCS)?;
        if let Process::Closed { clients, think_s } = self.process {
            input::whole(&format!("{key}.process.clients"), clients as u64, 1, 1 << 16)?;
            input::number(&format!("{key}.process.think_s"), think_s, 0.0, 3600.0)?;
        }
        Ok(())
    }

    /// Of the whole simulation, in seconds.
    fn end_s(&self) -> f64 {
        self.warm_up_s + self.seconds
    }
}

/// One request more than may be.
fn too_many() -> InputError {
    let wanted = format!("so short that at most {MAX_REQUESTS} lines and choices come");
    InputError::bad("arrivals.seconds", "too long", wanted)
}
