use npc_gateway::engine::{Choose, FinishReason};

use super::support::{collect, engine, prompt};

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
    };
    let choice = engine().choose(request).await.unwrap();
    println!("{choice:?}");
    assert!(choice.probs[0] > 0.5, "{choice:?}");
    assert!((choice.probs.iter().sum::<f32>() - 1.0).abs() < 1e-5);
}
