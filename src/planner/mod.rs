//! How many servers a game's characters need, which ones, and what they cost.
//!
//! ```text
//! input       what the inputs may be, and what is said of one that cannot be used
//! models      named base models: their architectures and where these come from
//! memory      bytes of weights, of keys and values, and of adapters
//! instances   machines of a cloud: memory, rates, prices
//! load        requests and tokens a second, of NPCs by archetype over a day
//! reference   the reference design's figures, and what of them holds
//! ```

mod input;
pub mod instances;
pub mod load;
pub mod memory;
pub mod models;
pub mod reference;

pub use input::InputError;
