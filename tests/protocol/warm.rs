//! A conversation is warm: a line computes what is new in it, and not its past again.
//!
//! Each test has an engine of its own, so that nobody else's conversations push these out.

use serde_json::{Value, json};

use crate::client::{Client, Encoding};
use crate::server::TestServer;

/// Tokens at the end of a prompt that may be computed again: its last one, whose logits are wanted, and a few that
/// the tokenizer may join with what comes behind them.
const TAIL: u64 = 4;

/// Says a line; returns the prompt's tokens and how many of them were there already.
async fn say(client: &mut Client, turn: usize, text: &str) -> (u64, u64) {
    let generation = json!({"max_tokens": 12, "greedy": true});
    let turn = format!("t{turn}");
    client
        .send(&json!({"op": "say", "d": {"npc": "n", "turn": turn, "text": text, "generation": generation}}))
        .await;
    let frames = client.until("turn.done").await;
    let (started, done) = (&frames[0]["d"], &frames.last().unwrap()["d"]);
    assert_eq!((&frames[0]["op"], &done["fallback"]), (&json!("turn.started"), &json!(false)), "{done}");
    let tokens = |of: &Value| (of["prompt_tokens"].as_u64().unwrap(), of["cached_tokens"].as_u64().unwrap());
    assert_eq!(tokens(started), tokens(&done["usage"]), "{done}");
    tokens(started)
}

#[tokio::test(flavor = "multi_thread")]
async fn most_of_a_long_conversation_is_not_computed_again() {
    const QUESTIONS: [&str; 5] = [
        "Who are you?",
        "What do you eat, and where do you find it?",
        "Have you seen my brother on the road?",
        "And before that?",
        "Why should I believe you?",
    ];
    let server = TestServer::with_own_engine(&[]).await;
    let mut client = server.joined(Encoding::Msgpack, "mina", "n").await;
    let mut shares = Vec::new();
    for turn in 0..20 {
        let (prompt, cached) = say(&mut client, turn, QUESTIONS[turn % QUESTIONS.len()]).await;
        println!("line {turn}: {cached} of {prompt} tokens");
        assert!(cached < prompt, "the last token's logits are computed");
        shares.push(cached as f64 / prompt as f64);
    }
    assert_eq!(shares[0], 0.0, "nobody was here before");
    shares.sort_by(f64::total_cmp);
    let median = f64::midpoint(shares[9], shares[10]);
    println!("median share: {median:.3}");
    assert!(median >= 0.75, "{shares:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_line_computes_only_what_is_new() {
    let server = TestServer::with_own_engine(&[]).await;
    let mut client = server.joined(Encoding::Json, "mina", "n").await;
    let story = "I came over the mountains with two mules and a crate of salt. ".repeat(8);
    let (first, cached) = say(&mut client, 0, &story).await;
    println!("first line: {cached} of {first} tokens");
    assert!(first >= 200 && cached == 0, "{cached} of {first}");
    let (second, cached) = say(&mut client, 1, "Where can I sell it?").await;
    println!("second line: {cached} of {second} tokens");
    assert!(cached >= first - TAIL, "{cached} of {second}, and {first} before");
    // The answer and the new line are all that was added.
    assert!(second - cached < 60, "{cached} of {second}");

    // Who was not there has no share in it, but of the persona.
    let mut other = server.joined(Encoding::Json, "lucy", "n").await;
    let (prompt, cached) = say(&mut other, 0, "Where can I sell salt?").await;
    assert!(cached < prompt && cached < first - TAIL, "{cached} of {prompt}");
}
