use std::process::ExitCode;

fn main() -> ExitCode {
    npc_conformance::main()
}
