//! Meets the server before the first case: what it announces is what the cases reckon with.

use anyhow::Context;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::Options;
use crate::expr::Vars;
use crate::link::{Came, Link, Opening, Trace};
use crate::schema::Schemas;
use crate::stop::{Step, Stop};
use crate::tokens::Tokens;
use crate::wire::Encoding;

use super::Suite;

/// The suite, and `server` and `engine` of `hello`.
pub async fn meet(options: &Options, schemas: Schemas) -> anyhow::Result<(Suite, String, String)> {
    let signer = options.signer()?;
    let run = Uuid::new_v4().simple().to_string()[..8].to_owned();
    let mut tokens = match (signer, &options.token) {
        (Some(signer), _) => Tokens::Signed(signer),
        (None, None) => Tokens::Dev,
        (None, Some(token)) => Tokens::Given {
            token: token.clone(),
            director: options.director_token.clone(),
            player: String::new(),
        },
    };
    let wish = json!({"$token": {"player": if options.token.is_some() { String::new() } else { format!("first-{run}") }}});
    let mut vars = Vars::default();
    vars.set("run", run);
    vars.set("told", options.told());
    vars.set("longest_wait_ms", options.longest_wait);
    vars.set("authority", options.target.authority.as_str());
    vars.set("archetype", options.archetype.as_str());
    let token =
        vars.evaluate(&wish, &tokens).map_err(|stop| anyhow::anyhow!("no token can be made: {stop:?}"))?;
    let (hello, ready) = greet(options, &schemas, &token).await.map_err(|stop| match stop {
        Stop::Failed(reason) | Stop::Skipped(reason) | Stop::NotAvailable(reason) => anyhow::anyhow!(reason),
        Stop::Enough => anyhow::anyhow!("it ended"),
    })?;
    let player = ready["player"].as_str().context("ready has no player")?.to_owned();
    if let Tokens::Given { player: given, .. } = &mut tokens {
        given.clone_from(&player);
        vars.set("given", player);
    }
    vars.set("hello", hello.clone());
    vars.set("limits", ready["limits"].clone());
    vars.set("resume_window_ms", ready["resume_window_ms"].clone());
    let text = |key: &str| hello[key].as_str().unwrap_or_default().to_owned();
    let (server, engine) = (text("server"), text("engine"));
    Ok((Suite { options: options.clone(), schemas, tokens, vars }, server, engine))
}

/// `d` of `hello` and of `ready`.
async fn greet(options: &Options, schemas: &Schemas, token: &Value) -> Step<(Value, Value)> {
    let (mut trace, patience) = (Trace::default(), options.patience());
    let opening = Opening {
        target: &options.target,
        encoding: options.subprotocol.unwrap_or(Encoding::Json),
        offers: true,
        narrow: false,
        silent: true,
        patience,
    };
    let encoding = opening.encoding;
    let mut link = Link::open("first", &opening).await?;
    let mut answers = Vec::new();
    for op in ["hello", "ready"] {
        match link.next(schemas, patience, &mut trace).await? {
            Came::Frame(frame) if frame["op"] == op => answers.push(frame["d"].clone()),
            other => return Err(Stop::Failed(format!("{other:?} came, and {op} was expected"))),
        }
        if op == "hello" {
            let d = json!({"token": token, "client": client()});
            link.send(&json!({"op": "identify", "d": d}), encoding, patience, &mut trace).await?;
        }
    }
    link.close(1000, patience).await?;
    let (Some(ready), Some(hello)) = (answers.pop(), answers.pop()) else {
        return Err(Stop::Failed("the handshake is short".into()));
    };
    Ok((hello, ready))
}

/// `client` of `identify`.
pub fn client() -> Value {
    json!({"name": "npc-conformance", "version": env!("CARGO_PKG_VERSION")})
}
