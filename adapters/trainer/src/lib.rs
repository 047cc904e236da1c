//! Trains LoRA adapters on the very weights that are served.
//!
//! ```text
//! error       what can go wrong
//! base        the frozen weights of a model folder
//! ops         what the forward pass is made of, with gradients
//! lora        the factors that are trained; peft: their files
//! example     token sequences, and which of their tokens are learned
//! batch       examples that begin alike, side by side in one sequence
//! model       the forward pass
//! below       what the layers below an adapter make of examples, computed once
//! optimizer   AdamW; schedule: warm-up and cosine
//! training    epochs, held-out loss, early stop, checkpoints
//! ```
//!
//! It knows tokens only; what the tokens of a line are is settled by whoever calls it.

mod base;
mod batch;
mod below;
mod checkpoint;
mod error;
mod example;
mod lora;
mod model;
mod ops;
mod optimizer;
mod peft;
mod schedule;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod training;

pub use base::Base;
pub use below::Below;
pub use checkpoint::identity;
pub use error::TrainError;
pub use example::Example;
pub use lora::{Lora, LoraConfig};
pub use model::{Measured, Mix, Model};
pub use peft::Part;
pub use training::{Data, Outcome, Progress, Settings, Training};

pub use candle_core::Device;
