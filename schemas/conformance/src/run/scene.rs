//! What one case has at hand while it runs: its sockets, and the values that it named.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::case::{Close, Door};
use crate::expr::Vars;
use crate::ledger::Ledger;
use crate::link::{Came, Link, Opening, Trace};
use crate::pattern::{Saved, matches};
use crate::stop::{Step, Stop, fail, short};
use crate::wire::Encoding;

use super::Suite;

/// How long a socket gets to close when its case is over.
const GOODBYE: Duration = Duration::from_secs(5);

pub struct Scene<'s> {
    pub suite: &'s Suite,
    pub encoding: Encoding,
    pub vars: Vars,
    pub links: BTreeMap<String, Link>,
    /// Of sockets that were dropped.
    pub ledgers: BTreeMap<String, Ledger>,
    pub trace: Trace,
    pub patience: Duration,
    /// What ends the loops that run, the innermost last.
    pub waited_for: Vec<WaitedFor>,
    /// Counts the `cid`s of `ask`.
    asked: u64,
    /// Messages that were sent, and lines among them.
    frames: u64,
    lines: u64,
}

/// What ends a loop.
pub struct WaitedFor {
    pub frame: Option<Value>,
    pub close: Option<Close>,
}

impl<'s> Scene<'s> {
    pub fn new(suite: &'s Suite, encoding: Encoding) -> Self {
        let id = Uuid::new_v4().simple().to_string()[..12].to_owned();
        let mut vars = suite.vars.clone();
        for name in ["player", "other", "third", "npc", "npc2", "turn", "turn2"] {
            vars.set(name, format!("{name}-{id}"));
        }
        if let Some(given) = suite.vars.get("given").cloned() {
            vars.set("player", given);
        }
        vars.set("id", id);
        vars.set("subprotocol", encoding.subprotocol());
        vars.set("other_subprotocol", encoding.other().subprotocol());
        Self {
            suite,
            encoding,
            vars,
            links: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            trace: Trace::default(),
            patience: suite.options.patience(),
            waited_for: Vec::new(),
            asked: 0,
            frames: 0,
            lines: 0,
        }
    }

    pub fn value(&self, value: &Value) -> Step<Value> {
        self.vars.evaluate(value, &self.suite.tokens)
    }

    pub fn number(&self, value: &Value) -> Step<u64> {
        self.vars.number(value, &self.suite.tokens)
    }

    pub fn text(&self, value: &Value) -> Step<String> {
        match self.value(value)? {
            Value::String(text) => Ok(text),
            other => Ok(other.to_string()),
        }
    }

    pub fn link(&mut self, name: &str) -> Step<&mut Link> {
        self.links
            .get_mut(name)
            .ok_or_else(|| Stop::Failed(format!("the case is wrong: there is no socket {name}")))
    }

    /// Ends a connection without a word.
    pub fn cut(&mut self, name: &str) -> Step {
        let ledger = self.link(name)?.ledger.clone();
        self.ledgers.insert(name.to_owned(), ledger);
        self.links.remove(name);
        Ok(())
    }

    /// A new `cid`.
    pub fn cid(&mut self) -> Value {
        self.asked += 1;
        format!("ask-{}", self.asked).into()
    }

    /// Opens a socket and reads `hello`.
    pub async fn open(&mut self, name: &str, door: &Door) -> Step {
        let encoding = match door.subprotocol.as_deref() {
            None => self.encoding,
            Some(wanted) => Encoding::ALL
                .into_iter()
                .find(|encoding| encoding.name() == wanted)
                .or_else(|| Encoding::from_subprotocol(&self.text(&wanted.into()).ok()?))
                .ok_or_else(|| {
                    Stop::Failed(format!("the case is wrong: there is no subprotocol {wanted}"))
                })?,
        };
        let opening = Opening {
            target: &self.suite.options.target,
            encoding,
            offers: !door.offers_none,
            narrow: door.narrow,
            silent: door.silent,
            patience: self.patience,
        };
        let link = Link::open(name, &opening).await?;
        self.links.insert(name.to_owned(), link);
        let hello = self.frame(name).await?;
        self.compare(&json!({"op": "hello", "s": {"$absent": true}}), &hello)?;
        self.vars.set(&format!("{name}.hello"), hello["d"].clone());
        Ok(())
    }

    /// The next frame or end of a socket.
    pub async fn next(&mut self, name: &str) -> Step<Came> {
        let (schemas, patience) = (&self.suite.schemas, self.patience);
        let Some(link) = self.links.get_mut(name) else {
            return fail(format!("the case is wrong: there is no socket {name}"));
        };
        let came = link.next(schemas, patience, &mut self.trace).await?;
        let last = link.ledger.last();
        self.vars.set(&format!("{name}.seq"), last);
        if let Came::Frame(frame) = &came {
            self.remember(name, frame);
        }
        let enough = self.waited_for.iter().any(|waited_for| match (&came, waited_for) {
            (Came::Frame(frame), WaitedFor { frame: Some(pattern), .. }) => {
                matches(pattern, Some(frame), "frame", &mut Saved::new()).is_ok()
            }
            (Came::Closed { code, reason }, WaitedFor { close: Some(close), .. }) => {
                (*code, reason) == (close.code, &close.reason)
            }
            _ => false,
        });
        if enough { Err(Stop::Enough) } else { Ok(came) }
    }

    /// Keeps what a session is resumed with.
    fn remember(&mut self, name: &str, frame: &Value) {
        let d = &frame["d"];
        let keys: &[&str] = match frame["op"].as_str() {
            Some("ready") => {
                &["session", "resume_token", "epoch", "player", "scopes", "limits", "resume_window_ms"]
            }
            Some("resumed") => &["resume_token"],
            _ => return,
        };
        for key in keys {
            self.vars.set(&format!("{name}.{key}"), d[*key].clone());
        }
        let every = self.vars.get("hello.heartbeat_ms").and_then(Value::as_u64).unwrap_or(15_000);
        if let Some(link) = self.links.get_mut(name) {
            link.start_heart(Duration::from_millis(every.max(50)));
        }
    }

    /// The next frame; a close is wrong.
    pub async fn frame(&mut self, name: &str) -> Step<Value> {
        match self.next(name).await? {
            Came::Frame(frame) => Ok(frame),
            Came::Closed { code, reason } => fail(format!("socket {name} was closed with {code} {reason:?}")),
            Came::Ended => fail(format!("socket {name} ended without a close frame")),
        }
    }

    /// Holds that a value is what is expected. That the server does not have something is no failure.
    pub fn compare(&mut self, pattern: &Value, value: &Value) -> Step {
        let pattern = self.value(pattern)?;
        let mut saved = Saved::new();
        match matches(&pattern, Some(value), "it", &mut saved) {
            Ok(()) => {
                self.vars.extend(saved);
                Ok(())
            }
            Err(_) if value["op"] == "error" && value["d"]["code"] == "not_available" => {
                Err(Stop::NotAvailable(value["d"]["message"].as_str().unwrap_or_default().to_owned()))
            }
            Err(problem) => fail(format!("{problem}; it is {}", short(&value.to_string()))),
        }
    }

    /// Whether a frame is what a pattern wants; only then is anything saved.
    pub fn fits(&mut self, pattern: &Value, frame: &Value) -> Step<bool> {
        let pattern = self.value(pattern)?;
        let mut saved = Saved::new();
        let fits = matches(&pattern, Some(frame), "it", &mut saved).is_ok();
        if fits {
            self.vars.extend(saved);
        }
        Ok(fits)
    }

    pub async fn send(&mut self, name: &str, frame: &Value) -> Step {
        let frame = self.value(frame)?;
        let encoding = self.link(name)?.encoding;
        self.send_as(name, &frame, encoding).await
    }

    pub async fn send_as(&mut self, name: &str, frame: &Value, encoding: Encoding) -> Step {
        let patience = self.patience;
        self.frames += 1;
        self.lines += u64::from(frame["op"] == "say");
        let Some(link) = self.links.get_mut(name) else {
            return fail(format!("the case is wrong: there is no socket {name}"));
        };
        link.send(frame, encoding, patience, &mut self.trace).await
    }

    pub async fn send_message(&mut self, name: &str, message: Message) -> Step {
        let patience = self.patience;
        self.frames += 1;
        self.link(name)?.send_message(message, patience).await
    }

    /// How long the server takes to forget what this case sent, if all cases share a player.
    pub fn rest(&self) -> Duration {
        let limit = |name: &str| self.vars.get(&format!("limits.{name}")).and_then(Value::as_u64);
        let time = |sent: u64, limit: Option<u64>, period_ms: u64| {
            limit.map_or(0, |limit| sent * period_ms / limit.max(1))
        };
        let frames = time(self.frames, limit("frames_per_second"), 1000);
        Duration::from_millis(frames.max(time(self.lines, limit("turns_per_minute"), 60_000)))
    }

    /// After the last step: everything that was sent is answered, and what still comes is judged.
    pub async fn finish(&mut self) -> Step {
        let open: Vec<String> = self
            .links
            .iter()
            .filter(|(_, link)| link.in_session && !link.over && !link.narrow)
            .map(|(name, _)| name.clone())
            .collect();
        for name in open {
            let cid = self.cid();
            self.send(&name, &json!({"op": "heartbeat", "cid": cid, "d": {"seq": 0}})).await?;
            while let Came::Frame(frame) = self.next(&name).await? {
                if frame["cid"] == cid {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Says goodbye on every socket, so that sessions end.
    pub async fn leave(&mut self) {
        self.waited_for.clear();
        let (schemas, trace) = (&self.suite.schemas, &mut Trace::default());
        for link in self.links.values_mut().filter(|link| !link.over && !link.narrow) {
            let goodbye = async {
                if link.close(1000, GOODBYE).await.is_ok() {
                    while let Ok(Came::Frame(_)) = link.next(schemas, GOODBYE, trace).await {}
                }
            };
            // Who leaves does not care how it went.
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }
        self.links.clear();
    }
}
