//! The command line; see [`npc_gateway::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    npc_gateway::cli::main()
}
