//! A remote model's answer as the engine's: the same events, in the same order.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, Sender};

use super::chat::{Chunk, Counts, Finish};
use super::client::{Failure, Stream};
use crate::engine::{EngineError, Event, FinishReason, Generation, Usage};

/// Events that wait for the turn.
const CHANNEL: usize = 64;
/// Bytes that a token has at most, for the bound of an answer.
const TOKEN_BYTES: usize = 64;
/// How long the counts of an answer are waited for behind its end.
const COUNTS: Duration = Duration::from_millis(200);

/// What is counted of an answer.
struct Counted {
    prompt: u32,
    /// Pieces, until the server says how many tokens they are.
    pieces: u32,
    bytes: usize,
    counts: Option<Counts>,
    finish: Option<Finish>,
    first: Duration,
    first_at: Instant,
}

/// Passes an answer on by a task of its own, which ends when nobody listens any more.
pub fn generation(mut stream: Stream, prompt_tokens: u32, max_tokens: u32, stall: Duration) -> Generation {
    let (sender, receiver) = mpsc::channel(CHANNEL);
    let first_at = Instant::now();
    let mut counted = Counted {
        prompt: prompt_tokens,
        pieces: 0,
        bytes: 0,
        counts: None,
        finish: None,
        first: first_at.saturating_duration_since(stream.asked),
        first_at,
    };
    tokio::spawn(async move {
        let ended = tokio::select! {
            biased;
            () = sender.closed() => return,
            ended = pass(&mut stream, &mut counted, max_tokens, stall, &sender) => ended,
        };
        let last = match ended {
            Ok(()) => {
                let within = counted.first_at.elapsed();
                let tokens = counted.counts.map_or(counted.pieces, |counts| counts.generated);
                stream.model.answered(counted.first, tokens.saturating_sub(1), within);
                counted.finished(tokens)
            }
            Err(failure) => {
                stream.model.failed(&failure);
                let model = stream.model.spec.name.clone();
                Event::Failed { error: EngineError::Remote { model, reason: failure.reason } }
            }
        };
        // Nobody may be there any more.
        let _ = sender.send(last).await;
    });
    receiver.into()
}

async fn pass(
    stream: &mut Stream,
    counted: &mut Counted,
    max_tokens: u32,
    stall: Duration,
    sender: &Sender<Event>,
) -> Result<(), Failure> {
    let started = Event::Started { prompt_tokens: counted.prompt, cached_tokens: 0 };
    let _ = sender.send(started).await;
    let most = max_tokens as usize * TOKEN_BYTES;
    let mut chunk = Some(std::mem::take(&mut stream.first));
    let mut until = Instant::now() + stall;
    while let Some(Chunk { text, finish, usage }) = chunk {
        counted.finish = counted.finish.or(finish);
        counted.counts = usage.or(counted.counts);
        if !text.is_empty() {
            counted.pieces += 1;
            counted.bytes += text.len();
            if counted.bytes > most {
                let reason = format!("its answer has more than {most} bytes for {max_tokens} tokens");
                return Err(Failure::lasting(reason));
            }
            let _ = sender.send(Event::Text { text, tokens: 1 }).await;
            until = Instant::now() + stall;
        }
        // Behind its end only the counts may come, and nobody waits for those long. Events without text are no life.
        let until = if counted.finish.is_some() { until.min(Instant::now() + COUNTS) } else { until };
        chunk = match tokio::time::timeout_at(until.into(), stream.next()).await {
            Ok(Ok(chunk)) => chunk,
            // It has said all: how the connection ends is of no interest.
            Ok(Err(_)) | Err(_) if counted.finish.is_some() => None,
            Ok(Err(failure)) => return Err(failure),
            Err(_) => {
                let reason = format!("nothing came for {} ms", stall.as_millis());
                return Err(Failure::passing(reason));
            }
        };
    }
    match counted.finish {
        Some(_) => Ok(()),
        None => Err(Failure::passing("its answer ended without a reason")),
    }
}

impl Counted {
    fn finished(&self, generated_tokens: u32) -> Event {
        let reason = match self.finish {
            Some(Finish::Length) => FinishReason::Length,
            _ => FinishReason::Stop,
        };
        let usage = Usage {
            prompt_tokens: self.counts.map_or(self.prompt, |counts| counts.prompt),
            cached_tokens: self.counts.map_or(0, |counts| counts.cached),
            generated_tokens,
            first_token_ms: self.first.as_secs_f64() * 1e3,
            ..Usage::default()
        };
        Event::Finished { reason, usage }
    }
}
