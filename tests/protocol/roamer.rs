//! A client whose connection is cut all the time, and which takes nothing on trust.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::client::{Encoding, PATIENCE, Ticket};
use crate::proxy::Proxy;

/// What befell the client.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub sessions: usize,
    pub resumed: usize,
    pub replayed: usize,
    pub replaced: usize,
    /// `resume_failed`, by reason.
    pub refused: BTreeMap<String, usize>,
    pub turns: usize,
    /// Turns whose session could not be resumed.
    pub lost_turns: usize,
}

/// What comes next.
enum Event {
    Frame(Value),
    /// The session is on another socket, and everything that was missed came before this.
    Resumed,
    /// The session is another one.
    New,
}

/// The connection is gone.
struct Gone;

pub struct Roamer {
    proxy: Proxy,
    rng: ChaCha8Rng,
    encoding: Encoding,
    player: String,
    npc: String,
    socket: Option<WebSocketStream<TcpStream>>,
    ticket: Option<Ticket>,
    events: VecDeque<Event>,
    /// Milliseconds for which it is away at most when its connection is gone.
    away: u64,
    /// The answers so far, by turn.
    done: BTreeMap<String, Value>,
    pub counts: Counts,
}

impl Roamer {
    pub fn new(proxy: Proxy, seed: u64, away: u64, encoding: Encoding, player: &str, npc: &str) -> Self {
        Self {
            proxy,
            rng: ChaCha8Rng::seed_from_u64(seed),
            encoding,
            player: player.to_owned(),
            npc: npc.to_owned(),
            socket: None,
            ticket: None,
            events: VecDeque::new(),
            away,
            done: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    pub fn cuts(&self) -> usize {
        self.proxy.cuts()
    }

    /// Says a line and follows the answer to its end, over as many sockets as it takes. False: the session was lost,
    /// and the turn with it.
    pub async fn say(&mut self, turn: &str, max_tokens: u32) -> bool {
        let generation = json!({"max_tokens": max_tokens, "greedy": true});
        let line = json!({"op": "say", "cid": turn, "d": {"npc": self.npc, "turn": turn,
                          "text": "Who are you?", "generation": generation}});
        let mut text: Option<String> = None;
        self.send(&line).await;
        loop {
            match self.next().await {
                Event::New => {
                    self.counts.lost_turns += 1;
                    return false;
                }
                // The line may have been lost on its way.
                Event::Resumed if text.is_none() => self.send(&line).await,
                Event::Resumed => {}
                Event::Frame(frame) => {
                    let d = &frame["d"];
                    if d["turn"] != turn {
                        self.check_earlier(&frame);
                        continue;
                    }
                    match (frame["op"].as_str().unwrap(), &mut text) {
                        ("turn.started", text @ None) => *text = Some(String::new()),
                        ("dialogue.delta", Some(text)) => {
                            assert_eq!(d["offset"], text.chars().count(), "{frame}");
                            text.push_str(d["text"].as_str().unwrap());
                        }
                        ("turn.done", Some(text)) => {
                            assert_eq!(d["text"], **text, "the joined deltas are the answer");
                            assert!(d["reason"] == "stop" || d["reason"] == "length", "{frame}");
                            assert_eq!(d["fallback"], false, "{frame}");
                            self.done.insert(turn.to_owned(), d.clone());
                            self.counts.turns += 1;
                            return true;
                        }
                        // It had arrived after all.
                        ("error", _) if d["code"] == "duplicate_turn" => {}
                        _ => panic!("out of place: {frame}"),
                    }
                }
            }
        }
    }

    /// Asks for a turn's end once more: the server's own record of what it generated.
    pub async fn check_record(&mut self, turn: &str) {
        let line =
            json!({"op": "say", "cid": "record", "d": {"npc": self.npc, "turn": turn, "text": "Again"}});
        self.send(&line).await;
        loop {
            match self.next().await {
                Event::Resumed => self.send(&line).await,
                Event::New => {
                    self.meet().await;
                    self.send(&line).await;
                }
                Event::Frame(frame) if frame["op"] == "turn.done" && frame["cid"] == "record" => {
                    assert_eq!(frame["d"], self.done[turn]);
                    return;
                }
                Event::Frame(frame) => self.check_earlier(&frame),
            }
        }
    }

    /// A frame that is not of the turn that is followed: an answer that was asked for twice, or of a turn that was
    /// given up with its session.
    fn check_earlier(&self, frame: &Value) {
        let d = &frame["d"];
        match (frame["op"].as_str().unwrap(), d["turn"].as_str().and_then(|turn| self.done.get(turn))) {
            ("npc.joined", _) => {}
            ("turn.done", Some(done)) => assert_eq!(d, done, "another end of a turn that has ended"),
            ("error", _) if d["code"] == "duplicate_turn" => {}
            (_, Some(_)) => panic!("behind the end of its turn: {frame}"),
            (_, None) => panic!("of no turn of this session: {frame}"),
        }
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            if self.socket.is_none() {
                self.come_back().await;
            } else if let Ok(frame) = self.receive().await {
                self.take(frame);
            }
        }
    }

    fn take(&mut self, frame: Value) {
        let unnumbered = ["heartbeat_ack", "resumed", "resume_failed", "hello"];
        if unnumbered.contains(&frame["op"].as_str().unwrap()) {
            assert_eq!(frame.get("s"), None, "{frame}");
            return;
        }
        let ticket = self.ticket.as_mut().expect("numbered frames belong to a session");
        assert_eq!(frame["s"], ticket.seq + 1, "{frame}");
        ticket.seq += 1;
        self.events.push_back(Event::Frame(frame));
    }

    /// The next frame of the socket.
    async fn receive(&mut self) -> Result<Value, Gone> {
        // Some acknowledge what they have, some do not.
        if self.rng.random_bool(0.1)
            && let Some(ticket) = &self.ticket
        {
            let beat = json!({"op": "heartbeat", "d": {"seq": ticket.seq}});
            self.send(&beat).await;
        }
        let Some(socket) = &mut self.socket else { return Err(Gone) };
        let message = tokio::select! {
            biased;
            message = timeout(PATIENCE, socket.next()) => message.expect("the server sends, or the proxy cuts"),
            () = self.proxy.silent() => None,
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => Ok(self.encoding.frame(message)),
            // A `resume` on a socket that was given up may be heard after the one on this.
            Some(Ok(Message::Close(Some(close)))) if u16::from(close.code) == 4505 => {
                self.counts.replaced += 1;
                self.socket = None;
                Err(Gone)
            }
            Some(Ok(Message::Close(Some(close)))) => panic!("the server closed with {close:?}"),
            _ => {
                self.socket = None;
                Err(Gone)
            }
        }
    }

    /// What cannot be sent is lost; that the socket is gone shows when it is read.
    async fn send(&mut self, frame: &Value) {
        let message = self.encoding.message(frame);
        if let Some(socket) = &mut self.socket {
            let _ = timeout(PATIENCE, socket.send(message)).await.expect("the proxy reads");
        }
    }

    /// Connects until there is a session on a socket: the one there was, or a new one if that is refused.
    async fn come_back(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..=self.away))).await;
        let mut request = format!("ws://{}/ws", self.proxy.address).into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", self.encoding.name().parse().unwrap());
        let stream = TcpStream::connect(self.proxy.address).await.unwrap();
        let socket = tokio::select! {
            socket = tokio_tungstenite::client_async(request, stream) => socket.ok(),
            () = self.proxy.silent() => None,
        };
        self.socket = socket.map(|(socket, _)| socket);
        let Ok(hello) = self.receive_first().await else { return };
        assert_eq!(hello["op"], "hello");
        if self.ticket.is_some() && self.resume().await.is_err() {
            return;
        }
        if self.ticket.is_none() {
            let _ = self.begin().await;
        }
    }

    /// The next frame of a socket on which there is no session yet.
    async fn receive_first(&mut self) -> Result<Value, Gone> {
        let ticket = self.ticket.take();
        let frame = self.receive().await;
        self.ticket = ticket;
        frame
    }

    async fn resume(&mut self) -> Result<(), Gone> {
        let Some(ticket) = self.ticket.clone() else { return Ok(()) };
        self.send(&ticket.frame()).await;
        let mut missed = 0;
        loop {
            let frame = self.receive_first().await?;
            match frame["op"].as_str().unwrap() {
                "resumed" => {
                    let ticket = self.ticket.as_mut().unwrap();
                    assert_eq!(
                        (&frame["d"]["seq"], &frame["d"]["replayed"]),
                        (&json!(ticket.seq), &json!(missed))
                    );
                    frame["d"]["resume_token"].as_str().unwrap().clone_into(&mut ticket.token);
                    self.counts.resumed += 1;
                    self.counts.replayed += missed;
                    self.events.push_back(Event::Resumed);
                    return Ok(());
                }
                "resume_failed" => {
                    assert_eq!(
                        (missed, &frame["d"]["recovered"]),
                        (0, &json!(false)),
                        "never a part: {frame}"
                    );
                    let reason = frame["d"]["reason"].as_str().unwrap().to_owned();
                    *self.counts.refused.entry(reason).or_default() += 1;
                    self.ticket = None;
                    return Ok(());
                }
                _ => {
                    missed += 1;
                    self.take(frame);
                }
            }
        }
    }

    async fn begin(&mut self) -> Result<(), Gone> {
        let identify = json!({"token": self.player, "client": {"name": "roamer", "version": "1"}});
        self.send(&json!({"op": "identify", "d": identify})).await;
        let ready = self.receive().await?;
        assert_eq!((&ready["op"], &ready["s"]), (&json!("ready"), &json!(1)), "{ready}");
        let text = |key: &str| ready["d"][key].as_str().unwrap().to_owned();
        self.ticket = Some(Ticket {
            session: text("session"),
            token: text("resume_token"),
            epoch: text("epoch"),
            seq: 1,
        });
        self.counts.sessions += 1;
        self.events.push_back(Event::New);
        Ok(())
    }

    /// Meets the NPC. False: the session was lost meanwhile.
    async fn join(&mut self) -> bool {
        let join = json!({"op": "npc.join", "d": {"npc": self.npc, "archetype": "vampire"}});
        self.send(&join).await;
        loop {
            match self.next().await {
                Event::New => return false,
                Event::Resumed => self.send(&join).await,
                Event::Frame(frame) if frame["op"] == "npc.joined" => return true,
                Event::Frame(frame) => self.check_earlier(&frame),
            }
        }
    }

    /// Gets a session that has met the NPC.
    pub async fn meet(&mut self) {
        if self.ticket.is_none() {
            assert!(matches!(self.next().await, Event::New));
        }
        while !self.join().await {}
    }
}
