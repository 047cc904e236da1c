//! `chat`: a terminal client.

use clap::Args;

/// What `chat` is told.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// The server's address.
    #[arg(default_value = "ws://127.0.0.1:7777/ws")]
    pub url: String,
}

/// Placeholder until the client is here.
pub async fn run(args: ChatArgs) -> anyhow::Result<()> {
    anyhow::bail!("cannot talk to {} yet", args.url)
}
