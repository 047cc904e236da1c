//! The client libraries and the console: their own lints and tests, against the gateway that was built.

mod console;
mod node;
mod python;
mod typescript;

use std::path::Path;

/// What the clients' tests are told.
pub(crate) struct Told<'a> {
    /// The gateway's program.
    pub gateway: &'a Path,
    /// Variables of the environment, as `cargo test` gets them.
    pub variables: &'a [(&'a str, &'a str)],
}

/// Runs the tests of every client.
pub(crate) fn test(told: &Told) -> anyhow::Result<()> {
    python::test(told)?;
    typescript::test(told)?;
    console::test(told)
}
