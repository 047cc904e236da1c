//! Does what a step says.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::case::{Action, Pair, Resume, Session, Step as CaseStep};
use crate::link::Came;
use crate::stop::{Step, Stop, fail, short};
use crate::tokens::Tokens;
use crate::wire::Encoding;

use super::preflight::client;
use super::scene::Scene;

/// The socket of who makes the NPCs, where players may not.
const DIRECTOR: &str = "director";

impl Scene<'_> {
    /// Does steps, one after another. Boxed: loops do steps too.
    pub fn perform<'a>(
        &'a mut self,
        steps: &'a [CaseStep],
    ) -> Pin<Box<dyn Future<Output = Step> + Send + 'a>> {
        Box::pin(async move {
            for step in steps {
                self.step(step).await.map_err(|stop| match stop {
                    Stop::Failed(reason) if !reason.contains(" [in ") => {
                        Stop::Failed(format!("{reason} [in {}]", short(&step.text)))
                    }
                    other => other,
                })?;
            }
            Ok(())
        })
    }

    async fn step(&mut self, step: &CaseStep) -> Step {
        let on = self.text(&step.on.as_str().into())?;
        match &step.action {
            Action::Connect(door) => self.open(&on, door).await,
            Action::Session(session) => self.session(&on, session).await,
            Action::Upgrade(upgrade) => self.upgrade(upgrade).await,
            Action::Join(npc) => self.join(&on, npc).await,
            Action::Send(frame) => self.send(&on, frame).await,
            Action::SendAsOther(frame) => {
                let (frame, encoding) = (self.value(frame)?, self.link(&on)?.encoding.other());
                self.send_as(&on, &frame, encoding).await
            }
            Action::Flood { frame, times } => self.flood(&on, frame, times).await,
            Action::Raw { msgpack, json } => self.raw(&on, msgpack.as_ref(), json.as_ref()).await,
            Action::Ask(pair) => self.ask(&on, pair).await,
            Action::Expect(pattern) => {
                let frame = self.frame(&on).await?;
                self.compare(pattern, &frame)
            }
            Action::Until(pattern) => self.until_all(&on, std::slice::from_ref(pattern)).await,
            Action::UntilAll(patterns) => self.until_all(&on, patterns).await,
            Action::Has(pair) => self.has(&on, pair).await,
            Action::Silence { of } => self.silence(&on, of.as_deref()).await,
            Action::ExpectClose { code, reason } => self.expect_close(&on, code, reason).await,
            Action::Drop {} => self.cut(&on),
            Action::Close { code } => self.close(&on, *code).await,
            Action::Resume(resume) => self.resume(&on, resume).await,
            Action::Http(http) => self.http(http).await,
            Action::Set(values) => {
                for (name, value) in values {
                    let value = self.value(value)?;
                    self.vars.set(name, value);
                }
                Ok(())
            }
            Action::Check((value, pattern)) => {
                let value = self.value(value)?;
                self.compare(pattern, &value)
            }
            Action::Available((value, pattern)) => {
                let missing =
                    |_| Stop::NotAvailable(format!("there is no {}", value.as_str().unwrap_or_default()));
                let value = self.value(value).map_err(missing)?;
                self.compare(pattern, &value)
            }
            Action::Wait { ms } => {
                let ms = self.number(ms)?;
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok(())
            }
            Action::Repeat(repeat) => self.repeat(repeat).await,
            Action::Each { of, r#as, steps } => self.each(of, r#as, steps).await,
            Action::Golden {} => self.golden(&on).await,
            Action::Drain {} => self.drain(),
        }
    }

    async fn session(&mut self, on: &str, session: &Session) -> Step {
        self.open(on, &session.door).await?;
        let player = session.player.clone().unwrap_or_else(|| "$player".into());
        let scope = session.scope.clone().unwrap_or_else(|| "play director".into());
        let token = json!({"$token": {"player": player, "scope": scope}});
        let identify = json!({"op": "identify", "d": {"token": token, "client": client()}});
        self.send(on, &identify).await?;
        let ready = self.frame(on).await?;
        self.compare(&json!({"op": "ready", "s": 1, "d": {"player": player}}), &ready)
    }

    /// A director makes the NPC where players may not; its session stays, so that the NPC does.
    async fn join(&mut self, on: &str, npc: &str) -> Step {
        let needs_director = matches!(self.suite.tokens, Tokens::Signed(_));
        if needs_director {
            if !self.links.contains_key(DIRECTOR) {
                let player = Some("director-${id}".into());
                self.session(DIRECTOR, &Session { player, ..Session::default() }).await?;
            }
            let made = json!({"op": "npc.join", "d": {"npc": npc, "archetype": "$archetype"}});
            self.ask(DIRECTOR, &(made, json!({"op": "npc.joined"}))).await?;
        }
        let d =
            if needs_director { json!({"npc": npc}) } else { json!({"npc": npc, "archetype": "$archetype"}) };
        let joins = json!({"op": "npc.join", "d": d});
        self.ask(on, &(joins, json!({"op": "npc.joined", "d": {"npc": {"id": npc}}}))).await
    }

    async fn ask(&mut self, on: &str, (frame, pattern): &Pair) -> Step {
        let mut frame = self.value(frame)?;
        if frame.get("cid").is_none() {
            frame["cid"] = self.cid();
        }
        let encoding = self.link(on)?.encoding;
        self.send_as(on, &frame, encoding).await?;
        loop {
            let answer = self.frame(on).await?;
            if answer.get("cid") == frame.get("cid") {
                return self.compare(pattern, &answer);
            }
        }
    }

    async fn until_all(&mut self, on: &str, patterns: &[Value]) -> Step {
        let mut missing: Vec<&Value> = patterns.iter().collect();
        while !missing.is_empty() {
            let frame = match self.next(on).await? {
                Came::Frame(frame) => frame,
                other => {
                    return fail(format!("socket {on}: {other:?} came, and {} were missing", list(&missing)));
                }
            };
            let mut found = None;
            for (i, pattern) in missing.iter().enumerate() {
                if self.fits(pattern, &frame)? {
                    found = Some(i);
                    break;
                }
            }
            if let Some(i) = found {
                missing.remove(i);
            } else if frame["op"] == "error" && frame["d"]["code"] == "not_available" {
                return Err(Stop::NotAvailable(
                    frame["d"]["message"].as_str().unwrap_or_default().to_owned(),
                ));
            }
        }
        Ok(())
    }

    async fn has(&mut self, on: &str, (wanted, without): &Pair) -> Step {
        loop {
            let frame = self.frame(on).await?;
            if frame["op"] == wanted["op"] {
                return self.compare(wanted, &frame);
            }
            if self.fits(without, &frame)? {
                return Err(Stop::NotAvailable(format!("no {} came", wanted["op"])));
            }
        }
    }

    /// Frames are answered in their order, so what a frame before had to say comes before the heartbeat's answer.
    async fn silence(&mut self, on: &str, of: Option<&[Value]>) -> Step {
        let cid = self.cid();
        self.send(on, &json!({"op": "heartbeat", "cid": cid, "d": {"seq": 0}})).await?;
        loop {
            let frame = self.frame(on).await?;
            if frame["cid"] == cid {
                return self.compare(&json!({"op": "heartbeat_ack"}), &frame);
            }
            let mut unwanted = of.is_none();
            for pattern in of.unwrap_or_default() {
                unwanted |= self.fits(pattern, &frame)?;
            }
            if unwanted {
                return fail(format!("socket {on} should be silent, and {} came", short(&frame.to_string())));
            }
        }
    }

    async fn expect_close(&mut self, on: &str, code: &Value, reason: &Value) -> Step {
        let wanted = json!({"code": self.value(code)?, "reason": self.value(reason)?});
        loop {
            match self.next(on).await? {
                Came::Frame(_) => {}
                Came::Closed { code, reason } => {
                    return self.compare(&wanted, &json!({"code": code, "reason": reason}));
                }
                Came::Ended => {
                    return fail(format!("socket {on} ended without a close frame; wanted: {wanted}"));
                }
            }
        }
    }

    async fn close(&mut self, on: &str, code: u16) -> Step {
        let patience = self.patience;
        self.link(on)?.close(code, patience).await?;
        while let Came::Frame(_) = self.next(on).await? {}
        self.links.remove(on);
        Ok(())
    }

    async fn resume(&mut self, on: &str, resume: &Resume) -> Step {
        let from = self.text(&resume.from.as_str().into())?;
        let known = |key: &str| Value::from(format!("${from}.{key}"));
        let seq = self.number(resume.seq.as_ref().unwrap_or(&known("seq")))?;
        let token = self.value(resume.token.as_ref().unwrap_or(&known("resume_token")))?;
        let (session, epoch) = (self.value(&known("session"))?, self.value(&known("epoch"))?);
        // The socket may be gone; what came over it is not.
        let before = self.ledgers.get(&from).cloned();
        let before = self.links.get(&from).map(|link| link.ledger.clone()).or(before).unwrap_or_default();
        self.open(on, &resume.door).await?;
        self.link(on)?.ledger = before.resumed_after(seq);
        let d = json!({"session": session, "resume_token": token, "epoch": epoch, "seq": seq});
        let cid = self.cid();
        self.send(on, &json!({"op": "resume", "cid": cid, "d": d})).await?;
        for key in ["session", "epoch"] {
            let value = d[key].clone();
            self.vars.set(&format!("{on}.{key}"), value);
        }
        let mut replayed = 0;
        loop {
            let frame = self.frame(on).await?;
            if frame["op"] == "resumed" || frame["op"] == "resume_failed" {
                self.vars.set(&format!("{on}.replayed"), replayed);
                let last = seq + replayed;
                return self.compare(
                    &json!({"op": "resumed", "cid": cid, "d": {"seq": last, "replayed": replayed,
                            "resume_token": {"$not": token}}}),
                    &frame,
                );
            }
            replayed += 1;
        }
    }

    async fn flood(&mut self, on: &str, frame: &Value, times: &Value) -> Step {
        let (frame, times) = (self.value(frame)?, self.number(times)?);
        let encoding = self.link(on)?.encoding;
        let message = encoding.write(&frame).map_err(Stop::Failed)?;
        if let Some(cid) = frame.get("cid") {
            self.link(on)?.ledger.sent(cid);
        }
        self.trace.note(format!("{on} → {times} times {}", short(&frame.to_string())));
        for _ in 0..times {
            self.send_message(on, message.clone()).await?;
        }
        Ok(())
    }

    async fn raw(&mut self, on: &str, msgpack: Option<&Value>, json: Option<&Value>) -> Step {
        let wrong = || Stop::Failed("the case is wrong: nothing raw for this subprotocol".into());
        let message = match self.link(on)?.encoding {
            Encoding::Json => Message::text(self.text(json.ok_or_else(wrong)?)?),
            Encoding::Msgpack => {
                let digits = self.text(msgpack.ok_or_else(wrong)?)?;
                Message::binary(bytes(&digits).ok_or_else(wrong)?)
            }
        };
        self.trace.note(format!("{on} → {}", short(&format!("{message:?}"))));
        self.send_message(on, message).await
    }
}

/// Hexadecimal digits, with spaces.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        digits.chars().filter(|c| *c != ' ').map(|c| Some(c.to_digit(16)? as u8)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn list(values: &[&Value]) -> String {
    values.iter().map(|value| short(&value.to_string())).collect::<Vec<_>>().join(" and ")
}
