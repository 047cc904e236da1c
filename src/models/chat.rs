//! Chat completions, as vLLM, TensorRT-LLM, llama.cpp and others speak them: what is sent, and what comes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::file::{Remote, ServerKind};
use super::request::Ask;
use crate::engine::Message;

/// Stop texts that OpenAI's own service takes.
const OPENAI_STOPS: usize = 4;
/// Characters of a server's own words that are kept.
const WORDS: usize = 300;

/// The body of a request.
pub fn body(remote: &Remote, ask: &Ask<'_>) -> Value {
    let message = |message: &Message| json!({ "role": message.role.name(), "content": message.content });
    let mut body = Map::new();
    let mut set = |key: &str, value: Value| {
        body.insert(key.to_owned(), value);
    };
    set("model", json!(remote.model_for(ask.archetype)));
    set("messages", ask.messages.iter().map(message).collect());
    set("stream", json!(true));
    set("stream_options", json!({ "include_usage": true }));
    set("max_tokens", json!(ask.max_tokens));
    let sampling = ask.sampling;
    set("temperature", json!(if sampling.greedy { 0.0 } else { sampling.temperature }));
    if !sampling.greedy {
        set("top_p", json!(sampling.top_p));
    }
    if let Some(seed) = sampling.seed {
        set("seed", json!(seed));
    }
    let stops = if remote.server == ServerKind::Openai { OPENAI_STOPS } else { ask.stop.len() };
    if !ask.stop.is_empty() {
        set("stop", json!(ask.stop[..stops.min(ask.stop.len())]));
    }
    // What only some of them know; the others refuse what they do not know, or pass over it.
    let repetition = match remote.server {
        ServerKind::Openai => None,
        ServerKind::LlamaCpp => Some("repeat_penalty"),
        ServerKind::Vllm | ServerKind::TensorrtLlm => Some("repetition_penalty"),
    };
    if let Some(repetition) = repetition.filter(|_| !sampling.greedy) {
        set(repetition, json!(sampling.repetition_penalty));
        set("min_p", json!(sampling.min_p));
    }
    Value::Object(body)
}

/// One event of an answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chunk {
    pub text: String,
    /// Why the answer ends.
    pub finish: Option<Finish>,
    pub usage: Option<Counts>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    Stop,
    Length,
}

/// Tokens, as the server counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub prompt: u32,
    pub cached: u32,
    pub generated: u32,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<UsageInfo>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Deserialize)]
struct UsageInfo {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize, Serialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u32>,
}

/// Reads the data of one event; `None`: the answer is over.
///
/// # Errors
/// What the server says went wrong, or that it says what nobody understands.
pub fn read(data: &[u8]) -> Result<Option<Chunk>, String> {
    if data.trim_ascii() == b"[DONE]" {
        return Ok(None);
    }
    let event: Event =
        serde_json::from_slice(data).map_err(|error| format!("an event that is none: {error}"))?;
    if let Some(error) = event.error.filter(|error| !error.is_null()) {
        return Err(named(&error));
    }
    let mut chunk = Chunk::default();
    if let Some(choice) = event.choices.into_iter().next() {
        chunk.text = choice.delta.and_then(|delta| delta.content).unwrap_or_default();
        chunk.finish = choice.finish_reason.map(|reason| match reason.as_str() {
            "length" => Finish::Length,
            _ => Finish::Stop,
        });
    }
    chunk.usage = event.usage.map(|usage| Counts {
        prompt: usage.prompt_tokens,
        cached: usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
        generated: usage.completion_tokens,
    });
    Ok(Some(chunk))
}

/// A server's own words about a failure, from the body of its answer.
pub fn complaint(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(answer) => words(answer.get("error").unwrap_or(&answer)),
        Err(_) => cut(&String::from_utf8_lossy(body)),
    }
}

/// A failure in the middle of an answer, by its name alone: the server's words may hold the line, and reasons are logged.
fn named(error: &Value) -> String {
    let is_name = |name: &&str| {
        (1..=WORDS).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    if let Some(number) = error.get("code").and_then(Value::as_i64) {
        return format!("it broke off with error {number}");
    }
    let name = ["code", "type"].into_iter().find_map(|key| error.get(key)?.as_str().filter(is_name));
    name.map_or_else(
        || "it broke off with an error".to_owned(),
        |name| format!("it broke off with error {name}"),
    )
}

fn words(error: &Value) -> String {
    let message = error.get("message").unwrap_or(error);
    cut(&message.as_str().map_or_else(|| message.to_string(), str::to_owned))
}

/// Text from outside is cut, and loses what would change a log.
fn cut(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::{Role, Sampling};

    fn sampling(greedy: bool) -> Sampling {
        Sampling {
            greedy,
            temperature: 0.5,
            top_p: 0.75,
            min_p: 0.25,
            repetition_penalty: 1.5,
            seed: Some(7),
        }
    }

    fn sent(server: ServerKind, greedy: bool) -> Value {
        let remote = Remote {
            server,
            loras: [("vampire".to_owned(), "vampire-lora".to_owned())].into(),
            ..Remote::example("big", "http://127.0.0.1:1/v1")
        };
        let messages =
            [(Role::System, "Be."), (Role::User, "Hi"), (Role::Assistant, "Ho"), (Role::User, "Hm")];
        let messages = messages.map(|(role, text)| Message::new(role, text));
        let stop: Vec<String> = ["\n", "a", "b", "c", "d"].map(str::to_owned).to_vec();
        let sampling = sampling(greedy);
        body(
            &remote,
            &Ask {
                archetype: "vampire",
                messages: &messages,
                sampling: &sampling,
                stop: &stop,
                max_tokens: 9,
                prompt_tokens: 4,
            },
        )
    }

    #[test]
    fn a_request_says_what_its_server_understands() {
        let vllm = sent(ServerKind::Vllm, false);
        let wanted = json!({
            "model": "vampire-lora",
            "messages": [
                {"role": "system", "content": "Be."}, {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "Hm"},
            ],
            "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 9,
            "temperature": 0.5, "top_p": 0.75, "seed": 7, "stop": ["\n", "a", "b", "c", "d"],
            "repetition_penalty": 1.5, "min_p": 0.25,
        });
        assert_eq!(vllm, wanted);
        assert_eq!(sent(ServerKind::LlamaCpp, false)["repeat_penalty"], json!(1.5));
        let openai = sent(ServerKind::Openai, false);
        assert!(openai.get("min_p").is_none() && openai.get("repetition_penalty").is_none());
        assert_eq!(openai["stop"].as_array().unwrap().len(), 4);
        let greedy = sent(ServerKind::Vllm, true);
        assert_eq!((&greedy["temperature"], greedy.get("top_p")), (&json!(0.0), None));
    }

    #[test]
    fn events_are_read_as_servers_write_them() {
        let chunk = |text: &str| read(text.as_bytes()).unwrap().unwrap();
        let role = chunk(
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}"#,
        );
        assert_eq!(role, Chunk::default());
        let text = chunk(
            r#"{"id":"x","choices":[{"delta":{"content":"Grüße"},"finish_reason":null}],"usage":null}"#,
        );
        assert_eq!(text.text, "Grüße");
        let end = chunk(r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#);
        assert_eq!(end.finish, Some(Finish::Length));
        let counts = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":8}}}"#;
        assert_eq!(chunk(counts).usage, Some(Counts { prompt: 9, cached: 8, generated: 3 }));
        assert_eq!(read(b" [DONE]").unwrap(), None);
        assert_eq!(
            read(br#"{"error":{"message":"out of\nmemory","code":500}}"#),
            Err("it broke off with error 500".into())
        );
        assert!(read(b"{").unwrap_err().contains("event that is none"));
    }

    #[test]
    fn a_complaint_is_short() {
        assert_eq!(complaint(br#"{"error":{"message":"no such model"}}"#), "no such model");
        assert_eq!(complaint(br#"{"detail":"x"}"#), r#"{"detail":"x"}"#);
        assert_eq!(complaint(&[b'x'; 5000]).len(), WORDS);
    }

    proptest! {
        #[test]
        fn no_event_is_too_strange(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&data);
            let _ = complaint(&data);
        }
    }
}
