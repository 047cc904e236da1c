//! The command line; see [`npc_gateway::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    // From 1.32 on ONNX Runtime's builds tell its maker of every process that loads them, and do so before they can be
    // asked not to. Only this variable keeps them from it.
    //
    // SAFETY: this is the only thread.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    npc_gateway::cli::main()
}
