//! What an evaluation came to, as a page in Markdown.

use std::fmt::Write;

use super::eval::{Accuracy, Evaluation, Mixed, Perplexities, Score};

/// The page. `command`: how it was made.
pub fn page(evaluation: &Evaluation, command: &str) -> String {
    let mut page = format!(
        "# How good the adapters are\n\nWritten by `{command}` on {}. Lines that are held out (a tenth, by their texts) took no \
         part in training but to say when it should end.\n",
        evaluation.model
    );
    let parts = [
        (!evaluation.spoken.is_empty()).then(|| spoken(&evaluation.spoken)),
        (!evaluation.mixes.is_empty()).then(|| mixes(&evaluation.mixes)),
        (!evaluation.chosen.is_empty()).then(|| chosen(&evaluation.chosen)),
    ];
    for part in parts.into_iter().flatten() {
        // Writing into a string does not fail; so below.
        let _ = write!(page, "\n{part}");
    }
    page
}

fn spoken(tables: &[Perplexities]) -> String {
    let mut text = String::from(
        "## What is spoken\n\nPerplexity of the held-out answers of each archetype (rows) under the adapter of each (columns) and \
         under the base, in the prompts that the server makes. Lower is better; a row's lowest is bold.\n",
    );
    for table in tables {
        let _ = write!(text, "\n### {}\n\n{}", table.task, perplexities(table));
    }
    text
}

fn perplexities(table: &Perplexities) -> String {
    let mut text = format!(
        "| lines | answers | tokens | base | {} | its own below the base |\n",
        table.archetypes.join(" | ")
    );
    let _ = writeln!(text, "|{}", "---|".repeat(table.archetypes.len() + 5));
    for (at, name) in table.archetypes.iter().enumerate() {
        let (row, base, (answers, tokens)) = (&table.under[at], table.base[at], table.sizes[at]);
        let lowest = row.iter().copied().fold(base, f64::min);
        let cell =
            |value: f64| if value == lowest { format!("**{value:.2}**") } else { format!("{value:.2}") };
        let cells: Vec<String> = row.iter().map(|value| cell(*value)).collect();
        let below = 100.0 * (1.0 - row[at] / base);
        let _ = writeln!(
            text,
            "| {name} | {answers} | {tokens} | {} | {} | {below:.0} % |",
            cell(base),
            cells.join(" | ")
        );
    }
    text
}

fn mixes(mixes: &[Mixed]) -> String {
    let mut text = String::from(
        "## The default mix\n\nPerplexity of held-out dialogue with `dialogue_style` alone, and with the pack's mix of the three spoken \
         tasks.\n\n\
         | lines | alone | mix |\n|---|---|---|\n",
    );
    for Mixed { archetype, alone, mixed } in mixes {
        let _ = writeln!(text, "| {archetype} | {alone:.2} | {mixed:.2} |");
    }
    text
}

fn chosen(all: &[Accuracy]) -> String {
    let mut text = String::from(
        "## What is chosen\n\nHow often the answer is right, asked of the engine that serves. Base: without an adapter, as it is served \
         (its favourites divided out) or plain, whichever is right more often. Majority: of what is offered, what is right most often. \
         ECE: expected calibration error of the adapter and of the base, ten classes.\n\n\
         | adapter | held out | right | base | majority | other archetypes' adapters | ECE | base's |\n|---|---|---|---|---|---|---|---|\n",
    );
    for of in all {
        let others: Vec<String> = of.others.values().map(|score| percent(*score)).collect();
        let _ = writeln!(
            text,
            "| {}.{} | {} | {} | {} | {} | {} | {:.2} | {:.2} |",
            of.archetype,
            of.task,
            of.own.of,
            percent(of.own),
            percent(of.base),
            percent(of.majority),
            others.join(", "),
            of.own.calibration_error,
            of.base.calibration_error
        );
    }
    if all.iter().any(|of| of.crossed.is_some()) {
        let _ = write!(text, "\n{}", crossed(all));
    }
    text
}

fn crossed(all: &[Accuracy]) -> String {
    let mut text = String::from(
        "### Cross-validated\n\nEvery line answered by an adapter that was trained without it, with the 95 % interval (Wilson).\n\n\
         | adapter | folds | lines | right | interval | base | majority | above base | above majority |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    let (mut above_base, mut above_majority, mut count) = (0.0, 0.0, 0);
    for of in all {
        let Some(crossed) = of.crossed else { continue };
        let (low, high) = crossed.own.interval();
        let (base, majority) =
            (crossed.own.share() - crossed.base.share(), crossed.own.share() - crossed.majority.share());
        (above_base, above_majority, count) = (above_base + base, above_majority + majority, count + 1);
        let _ = writeln!(
            text,
            "| {}.{} | {} | {} | {} | {:.0} to {:.0} % | {} | {} | {:+.0} | {:+.0} |",
            of.archetype,
            of.task,
            crossed.folds,
            crossed.own.of,
            percent(crossed.own),
            100.0 * low,
            100.0 * high,
            percent(crossed.base),
            percent(crossed.majority),
            100.0 * base,
            100.0 * majority
        );
    }
    let mean = |sum: f64| 100.0 * sum / f64::from(count.max(1));
    let _ = writeln!(
        text,
        "\nOn average {:+.1} points above the base and {:+.1} above the majority.",
        mean(above_base),
        mean(above_majority)
    );
    text
}

fn percent(score: Score) -> String {
    format!("{:.0} %", 100.0 * score.share())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archetype::Task;
    use crate::training::Crossed;

    #[test]
    fn the_page_says_what_was_measured() {
        let score = |right, of| Score { right, of, calibration_error: 0.05 };
        let evaluation = Evaluation {
            model: "SmolLM2".into(),
            spoken: vec![Perplexities {
                task: Task::DialogueStyle,
                archetypes: vec!["lich".into(), "zombie".into()],
                sizes: vec![(16, 300), (17, 310)],
                base: vec![40.0, 60.0],
                under: vec![vec![20.0, 50.0], vec![70.0, 15.0]],
            }],
            mixes: vec![Mixed { archetype: "lich".into(), alone: 20.0, mixed: 18.5 }],
            chosen: vec![Accuracy {
                archetype: "lich".into(),
                task: Task::ActionPolicy,
                own: score(10, 13),
                base: score(5, 13),
                majority: score(2, 13),
                others: [("zombie".to_owned(), score(7, 13))].into_iter().collect(),
                crossed: Some(Crossed {
                    folds: 5,
                    own: score(100, 140),
                    base: score(60, 140),
                    majority: score(20, 140),
                }),
            }],
        };
        insta::assert_snapshot!(page(&evaluation, "npc-gateway adapters eval"));
    }
}
