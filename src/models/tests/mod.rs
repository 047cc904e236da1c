//! Remote models that answer, and those that do not, over real connections.

mod server;

use std::io::Write;
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use self::server::{Does, Server};
use super::*;
use crate::config::Priority;
use crate::engine::{Event, FinishReason, Message, Role, Sampling};

/// Longer than anything takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_mins(1);

fn config(file: &NamedTempFile) -> config::Models {
    config::Models {
        file: file.path().to_owned(),
        priority: Priority::Quality,
        local_cost: 0.0,
        local_quality: 0.1,
        first_word_ms: PATIENCE.as_millis() as u64,
        stall_ms: PATIENCE.as_millis() as u64,
        retries: 0,
        breaker_failures: 2,
        breaker_open_ms: 3_600_000,
        remeasure_s: 3600,
    }
}

/// A file of these servers, the first one the best.
fn file(servers: &[&Server]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    for (at, server) in servers.iter().enumerate() {
        let quality = 0.9 - 0.1 * at as f64;
        write!(
            file,
            "[[model]]\nname = \"m{at}\"\nurl = \"{}\"\nmodel = \"base\"\nserver = \"vllm\"\ncost = 1\n\
             quality = {quality}\nlines = 2\nloras = {{ vampire = \"vampire-lora\" }}\n",
            server.url()
        )
        .unwrap();
    }
    file
}

fn models(config: &config::Models) -> Models {
    Models::new(config).unwrap().unwrap()
}

/// What came of a line: the events, and whether the local base answered.
struct Came {
    text: String,
    last: Event,
    is_local: bool,
}

/// The local base, which says "local".
#[allow(clippy::unnecessary_wraps)] // As one that may fail.
fn local() -> Result<Generation, EngineError> {
    let (sender, receiver) = mpsc::channel(4);
    let finished = Event::Finished { reason: FinishReason::Stop, usage: crate::engine::Usage::default() };
    for event in [
        Event::Started { prompt_tokens: 1, cached_tokens: 0 },
        Event::Text { text: "local".into(), tokens: 1 },
        finished,
    ] {
        sender.try_send(event).unwrap();
    }
    Ok(receiver.into())
}

async fn ask(
    models: &Models,
    archetype: &str,
    local: impl FnOnce() -> Result<Generation, EngineError>,
) -> Result<Answered, EngineError> {
    let sampling = Sampling {
        greedy: true,
        temperature: 1.0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        seed: None,
    };
    let messages = [Message::new(Role::System, "You are old."), Message::new(Role::User, "Who?")];
    let (sampling, messages) = (&sampling, &messages);
    let ask = Ask { archetype, messages, sampling, stop: &[], max_tokens: 8, prompt_tokens: 20 };
    tokio::time::timeout(PATIENCE, models.answer(&ask, local)).await.expect("it answers")
}

async fn came(models: &Models) -> Came {
    let Answered { mut generation, is_local, .. } = ask(models, "ghoul", local).await.unwrap();
    let (mut text, mut last) = (String::new(), None);
    while let Some(event) = tokio::time::timeout(PATIENCE, generation.next()).await.expect("it ends") {
        match &event {
            Event::Started { .. } => assert!(last.is_none(), "once, and first"),
            Event::Text { text: more, .. } => text.push_str(more),
            Event::Finished { .. } | Event::Failed { .. } => {}
        }
        last = Some(event);
    }
    Came { text, last: last.unwrap(), is_local }
}

#[tokio::test]
async fn a_remote_answer_comes_as_the_engines_does() {
    let server = Server::start([Does::Says(&["I am ", "Grüße", " 🦇."])]).await;
    let file = file(&[&server]);
    let models = models(&config(&file));
    let came = came(&models).await;
    assert_eq!((came.text.as_str(), came.is_local), ("I am Grüße 🦇.", false));
    let Event::Finished { reason: FinishReason::Stop, usage } = came.last else { panic!("{:?}", came.last) };
    assert_eq!((usage.prompt_tokens, usage.generated_tokens), (31, 7));
    let seen = server.seen.lock()[0].clone();
    assert_eq!((seen.path.as_str(), seen.authorization), ("/v1/chat/completions", None));
    assert_eq!(seen.body["messages"][1]["content"], "Who?");
    assert_eq!(seen.body["model"], "base");
    let told = models.told();
    assert_eq!((told[0].name.as_str(), told[0].answers, told[1].answers, told[1].failures), (LOCAL, 0, 1, 0));
    assert!(told[1].first_ms.is_some() && told[0].first_ms.is_none());
    // An archetype whose adapter the server has is asked for by its name.
    drop(ask(&models, "vampire", local).await.unwrap());
    assert_eq!(server.seen.lock()[1].body["model"], "vampire-lora");
}

#[tokio::test]
async fn before_the_first_word_the_next_one_answers() {
    for bad in [
        Does::Vanishes,
        Does::Refuses(500),
        Does::Refuses(404),
        Does::CutBehind(&[]),
        Does::FailsBehind(&[]),
        Does::Says(&[]),
    ] {
        let (first, second) =
            (Server::start([bad.clone()]).await, Server::start([Does::Says(&["second"])]).await);
        let both = file(&[&first, &second]);
        let came_first = came(&models(&config(&both))).await;
        assert_eq!((came_first.text.as_str(), first.asked()), ("second", 1), "{bad:?}");
        let alone = file(&[&first]);
        let came = came(&models(&config(&alone))).await;
        assert_eq!((came.text.as_str(), came.is_local), ("local", true), "{bad:?}");
    }
}

#[tokio::test]
async fn a_model_that_hangs_has_its_time_and_no_more() {
    let server = Server::start([Does::HangsBehind(&[])]).await;
    let file = file(&[&server]);
    let config = config::Models { first_word_ms: 10, ..config(&file) };
    let came = came(&models(&config)).await;
    assert!(came.is_local);
    // The server is told that nobody waits, by the end of the connection, if it has come so far.
    if server.asked() > 0 {
        tokio::time::timeout(PATIENCE, server.left.acquire()).await.unwrap().unwrap().forget();
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for bad in [Does::Refuses(503), Does::Refuses(429), Does::Vanishes] {
        let server = Server::start([bad, Does::Says(&["well"])]).await;
        let file = file(&[&server]);
        let models = models(&config::Models { retries: 1, ..config(&file) });
        assert_eq!((came(&models).await.text.as_str(), server.asked()), ("well", 2));
    }
    let server = Server::start([Does::Refuses(400), Does::Says(&["well"])]).await;
    let file = file(&[&server]);
    let models = models(&config::Models { retries: 1, ..config(&file) });
    assert!(came(&models).await.is_local);
    assert_eq!(server.asked(), 1, "what it does not understand it will not understand");
}

#[tokio::test]
async fn in_mid_stream_a_failure_ends_the_answer() {
    for (bad, why) in [
        (Does::CutBehind(&["I am", " old"]), "cut off"),
        (Does::FailsBehind(&["I am", " old"]), "it broke off with an error"),
        (Does::HangsBehind(&["I am", " old"]), "nothing came for 50 ms"),
    ] {
        let server = Server::start([bad.clone()]).await;
        let file = file(&[&server]);
        let came = came(&models(&config::Models { stall_ms: 50, ..config(&file) })).await;
        assert!("I am old".starts_with(&came.text) && came.text.starts_with("I am"), "{}", came.text);
        let Event::Failed { error: EngineError::Remote { model, reason } } = came.last else {
            panic!("{bad:?}")
        };
        assert_eq!(model, "m0");
        let broken = matches!(bad, Does::CutBehind(_));
        assert!(broken || reason.contains(why), "{bad:?}: {reason}");
    }
}

#[tokio::test]
async fn a_model_that_fails_again_and_again_is_left_alone_and_tried_again() {
    let server = Server::start([Does::Refuses(500)]).await;
    let file = file(&[&server]);
    let config = config::Models { breaker_open_ms: 3_600_000, ..config(&file) };
    let alone = models(&config);
    for _ in 0..5 {
        assert!(came(&alone).await.is_local);
    }
    assert_eq!(server.asked(), 2, "as many as models.breaker_failures");
    let told = alone.told();
    assert_eq!((told[1].closed, told[1].failures, told[0].answers), (Some("circuit open"), 2, 5));

    let soon = models(&config::Models { breaker_open_ms: 1, ..config });
    for _ in 0..3 {
        assert!(came(&soon).await.is_local);
    }
    server.next_does(Does::Says(&["well again"]));
    let back = async {
        while came(&soon).await.is_local {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.expect("it is tried again");
    assert_eq!(soon.told()[1].closed, None);
}

#[tokio::test]
async fn a_line_that_a_model_does_not_answer_takes_it_from_nobody() {
    for bad in [Does::Refuses(400), Does::Says(&[])] {
        let server = Server::start([bad.clone()]).await;
        let file = file(&[&server]);
        let models = models(&config::Models { breaker_open_ms: 3_600_000, ..config(&file) });
        for asked in 1..=5 {
            assert!(came(&models).await.is_local, "{bad:?}");
            assert_eq!(server.asked(), asked, "{bad:?}: the next line is asked of it as well");
        }
        assert_eq!(models.told()[1].closed, None);
    }
}

#[tokio::test]
async fn nobody_who_listens_ends_the_request() {
    let server = Server::start([Does::HangsBehind(&["I am"])]).await;
    let file = file(&[&server]);
    let models = models(&config(&file));
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut answered = ask(&models, "ghoul", local).await.unwrap();
        assert!(matches!(answered.generation.next().await, Some(Event::Started { prompt_tokens: 20, .. })));
        answers.push(answered);
    }
    assert_eq!(models.told()[1].closed, Some("busy"), "as many lines as it may");
    assert!(ask(&models, "ghoul", local).await.unwrap().is_local);
    drop(answers);
    tokio::time::timeout(PATIENCE, server.left.acquire_many(2)).await.unwrap().unwrap().forget();
    let free = async {
        while models.told()[1].closed.is_some() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, free).await.expect("there is room again");
}

#[tokio::test]
async fn where_the_local_base_has_no_room_others_answer() {
    let server = Server::start([Does::Says(&["remote"])]).await;
    let file = file(&[&server]);
    let config = config::Models { priority: Priority::Cost, ..config(&file) };
    let full = || Err(EngineError::Overloaded { retry_after_ms: 7 });
    let answered = ask(&models(&config), "ghoul", full).await.unwrap();
    assert!(!answered.is_local);
    server.next_does(Does::Refuses(500));
    let error = ask(&models(&config), "ghoul", full).await.unwrap_err();
    assert_eq!(error, EngineError::Overloaded { retry_after_ms: 7 });
    let broken = || Err(EngineError::Stopped);
    let asked = server.asked();
    assert_eq!(ask(&models(&config), "ghoul", broken).await.unwrap_err(), EngineError::Stopped);
    assert_eq!(server.asked(), asked, "that is no matter of room");
}

#[tokio::test]
async fn a_key_goes_along_and_one_that_is_missing_is_named() {
    let server = Server::start([Does::Says(&["yes"])]).await;
    let mut file = file(&[&server]);
    writeln!(file, "[[model]]\nname = \"x\"\nurl = \"http://127.0.0.1:9\"\nmodel = \"m\"\nserver = \"openai\"\ncost = 1\nquality = 0\nkey_env = \"X\"").unwrap();
    let error = Models::with_keys(&config(&file), |_| None).unwrap_err().to_string();
    assert_eq!(
        error,
        "setting models.file: model \"x\": the environment variable \"X\" (key_env) is not set"
    );
    let error = Models::with_keys(&config(&file), |_| Some("a\nb".into())).unwrap_err().to_string();
    assert!(error.contains("its key has characters") && !error.contains("a\nb"), "{error}");
    let text = std::fs::read_to_string(file.path())
        .unwrap()
        .replace("quality = 0.9", "quality = 0.9\nkey_env = \"K\"");
    std::fs::write(file.path(), text).unwrap();
    let models =
        Models::with_keys(&config(&file), |name| Some(format!("secret of {name}"))).unwrap().unwrap();
    came(&models).await;
    assert_eq!(server.seen.lock()[0].authorization.as_deref(), Some("Bearer secret of K"));
    assert!(!format!("{models:?}").contains("secret of K"), "no log shows it");
}

#[tokio::test]
async fn what_was_measured_decides() {
    let server = Server::start([Does::Says(&["a", "b"])]).await;
    let file = file(&[&server]);
    let models = models(&config::Models { priority: Priority::Latency, ..config(&file) });
    // Neither was measured: the local base stands first. Slower than any connection on this machine, it is left.
    assert!(came(&models).await.is_local);
    models.measured(Duration::from_hours(1), 1, Duration::from_hours(1));
    for _ in 0..3 {
        assert!(!came(&models).await.is_local);
    }
    let Decision { order, reason } = models.decide(Instant::now());
    assert_eq!(order, [1, 0]);
    assert!(reason.starts_with("latency: m0 (") && reason.contains(" before local ("), "{reason}");
}

#[test]
fn without_a_file_there_are_none() {
    let file = NamedTempFile::new().unwrap();
    let config = config::Models { file: std::path::PathBuf::new(), ..config(&file) };
    assert!(Models::new(&config).unwrap().is_none());
}
