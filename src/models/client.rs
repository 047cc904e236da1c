//! One remote model: asking it, over HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::breaker::Breaker;
use super::chat::{self, Chunk};
use super::file::Remote;
use super::latency::{Latency, Measured};
use super::request::Ask;
use super::sse::Events;

/// Bytes of a refusal that are read.
const MAX_REFUSAL: usize = 16 << 10;

/// Why a model did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    pub reason: String,
    pub kind: Kind,
}

/// What a failure says of the next line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The same line may be answered in a moment.
    Passing,
    /// The next one will most likely not be answered either.
    Lasting,
    /// Nothing: the model works and has no answer to this one. What a player says must not take it from others.
    OfTheLine,
}

impl Failure {
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), kind: Kind::Passing }
    }

    pub(super) fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), kind: Kind::Lasting }
    }

    fn of_the_line(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), kind: Kind::OfTheLine }
    }
}

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A remote model, how fast it is and how it stands with it.
#[derive(Debug)]
pub struct RemoteModel {
    pub spec: Remote,
    address: Uri,
    key: Option<header::HeaderValue>,
    http: Http,
    places: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    measured: Mutex<Measured>,
}

/// The client that all remote models share.
///
/// # Errors
/// There are no certificates to check servers with.
pub fn http(connect: Duration) -> std::io::Result<Http> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(connect));
    let https = HttpsConnectorBuilder::new()
        .with_native_roots()?
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new()).build(https))
}

impl RemoteModel {
    /// # Errors
    /// What is wrong with its address or its key, in words.
    pub fn new(spec: Remote, key: Option<&str>, http: Http, breaker: Breaker) -> Result<Self, String> {
        let key = key
            .map(|key| header::HeaderValue::try_from(format!("Bearer {key}")))
            .transpose()
            .map_err(|_| "its key has characters that no header may have".to_owned())?
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        Ok(Self {
            address: spec.address()?,
            key,
            http,
            places: Arc::new(Semaphore::new(spec.lines)),
            breaker: Mutex::new(breaker),
            measured: Mutex::default(),
            spec,
        })
    }

    /// Why it may not be asked now.
    pub fn closed(&self, now: Instant) -> Option<&'static str> {
        if !self.breaker.lock().is_closed(now) {
            Some("circuit open")
        } else if self.places.available_permits() == 0 {
            Some("busy")
        } else {
            None
        }
    }

    /// How fast it is, if that was measured lately.
    pub fn latency(&self, age: Duration, now: Instant) -> Option<Latency> {
        self.measured.lock().within(age, now)
    }

    /// Asks for an answer, and waits for its first word. Dropped, it is asked no more.
    ///
    /// # Errors
    /// [`Failure`]. The circuit breaker knows of it.
    pub async fn open(self: &Arc<Self>, ask: &Ask<'_>) -> Result<Stream, Failure> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        let permit = permit.map_err(|_| Failure::lasting("it answers as many lines as it may"))?;
        if !self.breaker.lock().admit(Instant::now()) {
            return Err(Failure::lasting("its circuit is open"));
        }
        let opened = self.first_word(ask, permit).await;
        if let Err(failure) = &opened {
            self.failed(failure);
        }
        opened
    }

    /// A line was not answered, or not to its end.
    pub fn failed(&self, failure: &Failure) {
        tracing::warn!(model = self.spec.name, %failure, "a remote model has not answered");
        if failure.kind == Kind::OfTheLine {
            return self.breaker.lock().excused();
        }
        let opened = self.breaker.lock().failed(Instant::now());
        if opened {
            tracing::warn!(model = self.spec.name, "it is left alone for models.breaker_open_ms");
        }
    }

    /// It was answered to its end, its first token after so long.
    pub fn answered(&self, first: Duration, more: u32, within: Duration) {
        self.breaker.lock().succeeded();
        self.measured.lock().note(first, more, within, Instant::now());
    }

    async fn first_word(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Stream, Failure> {
        let asked = Instant::now();
        let response = self.send(ask).await?;
        let mut stream = Stream {
            model: Arc::clone(self),
            body: response.into_body(),
            events: Events::default(),
            waiting: Vec::new().into_iter(),
            first: Chunk::default(),
            asked,
            _permit: permit,
        };
        loop {
            match stream.next().await? {
                Some(chunk) if !chunk.text.is_empty() => {
                    stream.first = chunk;
                    return Ok(stream);
                }
                Some(chunk) if chunk.finish.is_some() => {
                    return Err(Failure::of_the_line("its answer is empty"));
                }
                Some(_) => {}
                None => return Err(Failure::passing("its answer ended without a reason")),
            }
        }
    }

    async fn send(&self, ask: &Ask<'_>) -> Result<Response<Incoming>, Failure> {
        let body = chat::body(&self.spec, ask).to_string();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.address.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "text/event-stream")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::lasting(error.to_string()))?;
        if let Some(key) = &self.key {
            request.headers_mut().insert(header::AUTHORIZATION, key.clone());
        }
        let response = self.http.request(request).await.map_err(|error| Failure::passing(chain(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = Limited::new(response.into_body(), MAX_REFUSAL).collect().await;
        let words = body.map(|body| chat::complaint(&body.to_bytes())).unwrap_or_default();
        // Reasons are logged. A server's words about a line may hold the line; those about a key or a model do not.
        let reason = format!("status {status}");
        Err(match status.as_u16() {
            429 | 500.. => Failure::passing(reason),
            // What the line asks for: too much, or a stop text that it does not take.
            400 | 413 | 422 => Failure::of_the_line(reason),
            401 | 403 | 404 => Failure::lasting(format!("{reason}: {words}")),
            _ => Failure::lasting(reason),
        })
    }
}

/// An answer whose first word is there.
#[derive(Debug)]
pub struct Stream {
    pub model: Arc<RemoteModel>,
    body: Incoming,
    events: Events,
    /// Events that came with others.
    waiting: std::vec::IntoIter<Vec<u8>>,
    /// With the first word.
    pub first: Chunk,
    /// When it was asked for.
    pub asked: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    /// What comes next; `None`: the server says that it is over.
    ///
    /// # Errors
    /// [`Failure`]: also when the connection ends without that.
    pub async fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        loop {
            if let Some(event) = self.waiting.next() {
                return chat::read(&event).map_err(Failure::lasting);
            }
            match self.body.frame().await {
                None => return Err(Failure::passing("its answer was cut off")),
                Some(Err(error)) => return Err(Failure::passing(chain(&error))),
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    let events = self.events.push(&bytes);
                    self.waiting = events.map_err(|error| Failure::lasting(error.to_string()))?.into_iter();
                }
            }
        }
    }
}

/// An error with its causes: that of a client alone says too little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
