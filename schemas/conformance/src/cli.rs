//! The command line. Exit codes: 0 no case failed, 1 one did or the run could not begin, 2 a bad argument.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::Value;

use crate::case;
use crate::run::run;
use crate::tokens::Signer;
use crate::wire::Encoding;

/// Proves a server's wire protocol from outside: every table of the protocol, in both subprotocols.
#[derive(Debug, Clone, Parser)]
#[command(name = "npc-conformance", version, max_term_width = 100)]
pub struct Options {
    /// `ws://HOST:PORT/ws`; the scheme and the path may be left out.
    pub target: Target,
    /// A token of a player, where this program cannot make any. Without it and without a key the server is taken to
    /// be in `dev` mode, where a token is the player's name.
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// A token of the same player with the scopes `play director`.
    #[arg(long, value_name = "TOKEN", requires = "token")]
    pub director_token: Option<String>,
    /// File with the secret that signs tokens (HS256).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["token", "jwt_key"])]
    pub jwt_secret: Option<PathBuf>,
    /// File with the private Ed25519 key that signs tokens (EdDSA), PEM.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub jwt_key: Option<PathBuf>,
    /// `kid` of the tokens.
    #[arg(long, value_name = "NAME")]
    pub jwt_kid: Option<String>,
    /// `iss` of the tokens.
    #[arg(long, value_name = "NAME")]
    pub jwt_issuer: Option<String>,
    /// `aud` of the tokens.
    #[arg(long, value_name = "NAME")]
    pub jwt_audience: Option<String>,
    /// One subprotocol alone.
    #[arg(long, value_enum)]
    pub subprotocol: Option<Encoding>,
    /// Only cases whose names, `file/case`, have this in them; several may be given.
    #[arg(long, value_name = "TEXT")]
    pub filter: Vec<String>,
    /// Shows the cases and what they prove, and runs none.
    #[arg(long)]
    pub list: bool,
    /// Writes the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Cases that run at the same time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// Seconds that anything may take that has no time of its own.
    #[arg(long, default_value_t = 60, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub patience: u64,
    /// Longest time, in milliseconds, that a case may wait for a timeout of the server.
    #[arg(long, default_value_t = 15_000, value_name = "MS")]
    pub longest_wait: u64,
    /// A setting of the server that it does not announce: `idle_timeout_ms`, `leeway_s`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub told: Vec<Told>,
    /// An archetype that the server has.
    #[arg(long, default_value = "vampire", value_name = "NAME")]
    pub archetype: String,
    /// Process that the last cases tell to go down (SIGTERM).
    #[arg(long, value_name = "PID")]
    pub drain_pid: Option<i32>,
    /// Folder of the case files.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/cases"), value_name = "DIR")]
    pub cases: PathBuf,
    /// Folder of the schemas and the golden frames.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.."), value_name = "DIR")]
    pub schemas: PathBuf,
}

/// `NAME=VALUE`.
#[derive(Debug, Clone)]
pub struct Told(pub String, pub u64);

impl FromStr for Told {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("wanted: NAME=VALUE")?;
        Ok(Self(name.into(), value.parse().map_err(|_| "the value must be a whole number")?))
    }
}

/// A server's address.
#[derive(Debug, Clone)]
pub struct Target {
    /// `HOST:PORT`.
    pub authority: String,
    path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            None => text,
            Some(("ws", rest)) => rest,
            Some((scheme, _)) => return Err(format!("{scheme}:// is not spoken here, only ws://")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, "ws"));
        if authority.is_empty() {
            return Err("the host is missing".into());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority, path: path.to_owned() })
    }
}

impl Target {
    pub fn url(&self) -> String {
        format!("ws://{}/{}", self.authority, self.path)
    }

    /// The path of the socket.
    pub fn path(&self) -> String {
        format!("/{}", self.path)
    }
}

impl Options {
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }

    /// What signs tokens, if there is anything.
    pub(crate) fn signer(&self) -> anyhow::Result<Option<Signer>> {
        let read = |path: &PathBuf| fs::read(path).with_context(|| path.display().to_string());
        let (key, algorithm) = match (&self.jwt_secret, &self.jwt_key) {
            (Some(path), _) => (EncodingKey::from_secret(read(path)?.trim_ascii_end()), Algorithm::HS256),
            (None, Some(path)) => {
                let key =
                    EncodingKey::from_ed_pem(&read(path)?).with_context(|| path.display().to_string())?;
                (key, Algorithm::EdDSA)
            }
            (None, None) => return Ok(None),
        };
        let (kid, issuer, audience) =
            (self.jwt_kid.clone(), self.jwt_issuer.clone(), self.jwt_audience.clone());
        Ok(Some(Signer { key, algorithm, kid, issuer, audience }))
    }

    pub(crate) fn told(&self) -> Value {
        let told: BTreeMap<&str, u64> =
            self.told.iter().map(|Told(name, value)| (name.as_str(), *value)).collect();
        serde_json::json!(told)
    }
}

/// Runs what the process was started with.
pub fn main() -> ExitCode {
    match start(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether no case failed.
fn start(options: &Options) -> anyhow::Result<bool> {
    if options.list {
        for case in case::load(&options.cases)? {
            println!("{}", case.full_name());
            for sentence in &case.proves {
                println!("    {sentence}");
            }
        }
        return Ok(true);
    }
    let report = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(options))?;
    print!("{report}");
    if let Some(path) = &options.json {
        let text = serde_json::to_vec_pretty(&report)?;
        fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    if report.verdicts.is_empty() {
        bail!("no case has such a name");
    }
    Ok(report.failed() == 0)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
        let target = |text: &str| text.parse::<Target>().map(|target| target.url());
        for text in ["127.0.0.1:7777", "ws://127.0.0.1:7777", "ws://127.0.0.1:7777/ws"] {
            assert_eq!(target(text), Ok("ws://127.0.0.1:7777/ws".into()));
        }
        assert_eq!(target("example.org/npc/ws"), Ok("ws://example.org:80/npc/ws".into()));
        assert!(target("wss://example.org").is_err() && target("ws:///ws").is_err());
    }
}
