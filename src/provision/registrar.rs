//! What provisioning wants of whoever holds the adapters that turns use.

use std::fmt;
use std::pin::Pin;

use crate::archetype::Task;

/// An answer that is on its way; an error says in words why not.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Makes adapters that lie in a pack those that turns use. Everything may be asked again, after the server was killed in
/// between, and then changes nothing.
pub trait Registrar: fmt::Debug + Send + Sync + 'static {
    /// Checks a version that lies in its pack, and gives it to the engine. No turn uses it yet.
    fn load<'a>(&'a self, archetype: &'a str, task: Task, version: u32) -> Answer<'a>;

    /// Makes these versions the ones that new turns use, all at once.
    fn promote<'a>(&'a self, archetype: &'a str, versions: &'a [(Task, u32)]) -> Answer<'a>;
}
