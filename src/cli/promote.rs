//! `adapters promote` and `adapters rollback`: a running server changes which version of an adapter it uses.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::Usage;
use super::clean::clean;
use crate::archetype::{Task, version_number};

/// How long a server may take: it reads and checks the adapter first.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;

/// Which server.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// The running server.
    #[arg(long, default_value = "http://127.0.0.1:7777")]
    url: String,
    /// A token with the scope `admin`; a server in `dev` mode wants none.
    #[arg(long, env = "NPC_GATEWAY_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct PromoteArgs {
    /// For example vampire.dialogue_style.
    id: String,
    /// For example v2.
    version: String,
    /// Only a share of the NPCs use it, always the same ones: above 0, below 1; 0 ends the trial.
    #[arg(long)]
    share: Option<f32>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// For example vampire.dialogue_style.
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn promote(args: &PromoteArgs) -> anyhow::Result<()> {
    if version_number(&args.version).is_none() {
        return Err(Usage(format!("{:?} is no version such as v2", args.version)).into());
    }
    if let Some(share) = args.share.filter(|share| !(0.0..=1.0).contains(share)) {
        return Err(Usage(format!("--share is {share}, but must be from 0 to 1")).into());
    }
    let mut wanted = json!({ "version": args.version });
    if let Some(share) = args.share {
        wanted["share"] = share.into();
    }
    tell(&ask(&args.server, &args.id, "promote", &wanted).await?);
    Ok(())
}

pub(super) async fn rollback(args: &RollbackArgs) -> anyhow::Result<()> {
    tell(&ask(&args.server, &args.id, "rollback", &json!({})).await?);
    Ok(())
}

fn tell(answer: &Value) {
    let text = |value: &Value| value.as_str().map_or_else(|| "no version".to_owned(), clean);
    let trial = match &answer["canary"] {
        Value::Null => String::new(),
        canary => format!(", and {} for {} of the NPCs", text(&canary["version"]), canary["share"]),
    };
    println!("{} uses {}{trial}", text(&answer["id"]), text(&answer["version"]));
}

async fn ask(server: &ServerArgs, id: &str, what: &str, wanted: &Value) -> anyhow::Result<Value> {
    let known = id.split_once('.').is_some_and(|(archetype, task)| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        !archetype.is_empty() && archetype.bytes().all(allowed) && task.parse::<Task>().is_ok()
    });
    if !known {
        return Err(Usage(format!("{id:?} is no adapter such as vampire.dialogue_style")).into());
    }
    let base = server.url.trim_end_matches('/');
    let url: Uri = format!("{base}/api/v1/adapters/{id}/{what}").parse().map_err(|_| bad_url(&server.url))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(bad_url(&server.url).into());
    }
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(wanted.to_string())))?;
    if let Some(token) = &server.token {
        let mut value = header::HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Usage("--token has characters that no header may have".to_owned()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let answer = async {
        let response = client
            .request(request)
            .await
            .with_context(|| format!("{base} cannot be asked; is `npc-gateway serve` running there?"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow!("the answer of {base} cannot be read: {error}"))?.to_bytes();
        anyhow::Ok((status, serde_json::from_slice::<Value>(&body).unwrap_or_default()))
    };
    let (status, answer) = tokio::time::timeout(PATIENCE, answer)
        .await
        .map_err(|_| anyhow!("{base} did not answer within {} s", PATIENCE.as_secs()))??;
    if status == StatusCode::OK {
        return Ok(answer);
    }
    let reason =
        answer["error"].as_str().map_or_else(|| "it is no npc-gateway, or an older one".into(), clean);
    if status == StatusCode::NOT_FOUND {
        return Err(Usage(reason).into());
    }
    bail!("{reason} (HTTP {})", status.as_u16())
}

fn bad_url(url: &str) -> Usage {
    Usage(format!("--url is {url:?}, but must be such as http://127.0.0.1:7777"))
}
