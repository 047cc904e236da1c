use npc_gateway::config;
use npc_gateway::engine::{Choose, Engine, FinishReason, Generate, Schedule};

use super::support::{collect, config, engine, library, model_dir, prompt};

#[tokio::test(flavor = "multi_thread")]
async fn answers_with_real_text() {
    let (text, reason, usage) =
        collect(engine().generate(prompt(engine(), "The capital of France is")).unwrap()).await;
    println!("{text:?} {reason:?} {usage:?}");
    assert!(text.contains("Paris"), "{text:?}");
    assert_eq!(reason, FinishReason::Length);
    assert_eq!(usage.generated_tokens, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn chooses_from_a_closed_list() {
    let request = Choose {
        prompt: engine().tokenizer().encode_text("The capital of France is"),
        mix: Vec::new(),
        options: [" Paris", " Rome", " a wet dog", " Berlin"].map(str::to_owned).to_vec(),
        schedule: Schedule::default(),
    };
    let choice = engine().choose(request).await.unwrap();
    println!("{choice:?}");
    assert!(choice.probs[0] > 0.5, "{choice:?}");
    assert!((choice.probs.iter().sum::<f32>() - 1.0).abs() < 1e-5);
}

/// A line of a conversation whose past is 200 tokens long computes only what is new.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_line_of_a_conversation_is_warm() {
    let engine = Engine::start(&model_dir(), &library(), &config()).unwrap();
    let past = engine.tokenizer().encode_text(&"The castle has a tower and a well. ".repeat(24));
    let request = |prompt: Vec<u32>, max_tokens| Generate { prompt, max_tokens, ..prompt_of(&engine) };
    let (reply, _, cold) = collect(engine.generate(request(past[..200].to_vec(), 8)).unwrap()).await;
    assert_eq!((cold.prompt_tokens, cold.cached_tokens), (200, 0));
    let mut next = past[..200].to_vec();
    next.extend(engine.tokenizer().encode_text(&reply));
    next.extend(engine.tokenizer().encode_text(" And the well?"));
    let (_, _, warm) = collect(engine.generate(request(next.clone(), 8)).unwrap()).await;
    println!("{cold:?} {warm:?}");
    // The reply's last token was drawn, but never computed.
    assert!(warm.cached_tokens >= 206, "{warm:?}");
    // What was kept is what would be computed: the same answer as without it.
    let fresh =
        Engine::start(&model_dir(), &library(), &config::Engine { kept_conversations: 0, ..config() });
    let fresh = fresh.unwrap();
    let (again, _, cold) = collect(fresh.generate(request(next.clone(), 8)).unwrap()).await;
    let (warm_text, _, usage) = collect(engine.generate(request(next, 8)).unwrap()).await;
    assert_eq!((cold.cached_tokens, warm_text), (0, again));
    assert!(usage.cached_tokens > 200);
}

fn prompt_of(engine: &Engine) -> Generate {
    prompt(engine, "x")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warmed_prompt_is_not_computed_again() {
    let engine = Engine::start(&model_dir(), &library(), &config()).unwrap();
    let line = prompt(&engine, "The capital of France is the city of");
    let background = Schedule { background: true, ..Schedule::default() };
    let warm = engine.warm(line.prompt[..5].to_vec(), &Vec::new(), background).await.unwrap();
    assert_eq!((warm.prompt_tokens, warm.cached_tokens), (5, 0));
    let (_, _, usage) = collect(engine.generate(line).unwrap()).await;
    assert_eq!(usage.cached_tokens, 5);
}
