//! From a designer's lines to adapters: what the lines are as prompts, and how good the adapters are.
//!
//! ```text
//! lines      LINES/TASK.jsonl, checked
//! examples   the very prompts that the server makes of them, as tokens
//! train      one task's adapter
//! folds      adapters of parts of the lines, for cross-validation; several trainings at once
//! eval       the adapters beside the base, and beside each other
//! report     what came out, as a page
//! ```

mod eval;
mod examples;
mod folds;
mod lines;
mod report;
mod train;

pub use self::eval::{Accuracy, Crossed, Evaluation, Evaluator, Mixed, Part, Perplexities, Score, lora};
pub use self::examples::{Item, Items, Question};
pub use self::folds::{Folds, each};
pub use self::lines::{Line, LineError, Lines};
pub use self::report::page;
pub use self::train::{Plan, Trained, TrainingError, lora_config, train};
