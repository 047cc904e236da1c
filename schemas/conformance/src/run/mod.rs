//! Runs cases.

mod loops;
mod needs;
mod preflight;
mod requests;
mod scene;
mod steps;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::case::{self, Case};
use crate::cli::Options;
use crate::expr::Vars;
use crate::report::{Outcome, Report, Verdict};
use crate::schema::Schemas;
use crate::stop::Stop;
use crate::tokens::Tokens;
use crate::wire::Encoding;

use scene::Scene;

/// What all cases of a run share.
pub(crate) struct Suite {
    pub options: Options,
    pub schemas: Schemas,
    pub tokens: Tokens,
    /// What is known of the server, and of this run.
    pub vars: Vars,
}

/// Runs every case that the options choose.
///
/// # Errors
/// Files that cannot be read, a server that is not there or lets nobody in.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let cases = case::load(&options.cases)?;
    let schemas = Schemas::read(&options.schemas.join("server"))?;
    let (suite, server, engine) = preflight::meet(options, schemas).await?;
    let suite = Arc::new(suite);
    let chosen = |case: &&Case| {
        options.filter.is_empty() || options.filter.iter().any(|text| case.full_name().contains(text))
    };
    let (last, others): (Vec<&Case>, Vec<&Case>) = cases.iter().filter(chosen).partition(|case| case.last);
    let mut verdicts = Vec::new();
    for (cases, jobs) in [(others, jobs(&suite)), (last, 1)] {
        let places = Arc::new(Semaphore::new(jobs));
        let mut running = Vec::new();
        for case in cases {
            for encoding in encodings(options, case) {
                let (suite, case, places) = (Arc::clone(&suite), case.clone(), Arc::clone(&places));
                running.push(tokio::spawn(async move {
                    let _place = places.acquire().await;
                    play(&suite, &case, encoding).await
                }));
            }
        }
        for verdict in running {
            verdicts.push(verdict.await?);
        }
    }
    Ok(Report { address: options.target.url(), server, engine, verdicts })
}

/// A player that is given has one account of sessions and rates for all cases.
fn jobs(suite: &Suite) -> usize {
    match suite.tokens {
        Tokens::Given { .. } => 1,
        _ => suite.options.jobs.into(),
    }
}

fn encodings(options: &Options, case: &Case) -> Vec<Encoding> {
    let wanted = |encoding: &Encoding| {
        options.subprotocol.is_none_or(|only| only == *encoding)
            && case.subprotocols.as_ref().is_none_or(|all| all.iter().any(|name| name == encoding.name()))
    };
    Encoding::ALL.into_iter().filter(wanted).collect()
}

async fn play(suite: &Suite, case: &Case, encoding: Encoding) -> Verdict {
    let mut scene = Scene::new(suite, encoding);
    let mut result = needs::check(suite, case).map_err(Stop::Skipped);
    if result.is_ok() {
        result = scene.perform(&case.steps).await;
    }
    if result.is_ok() {
        result = scene.finish().await;
    }
    scene.leave().await;
    if matches!(suite.tokens, Tokens::Given { .. }) {
        tokio::time::sleep(scene.rest()).await;
    }
    let outcome = match result {
        Ok(()) => Outcome::Passed,
        Err(Stop::Failed(reason)) => Outcome::Failed { reason, trace: scene.trace.lines() },
        Err(Stop::Skipped(reason)) => Outcome::Skipped { reason },
        Err(Stop::NotAvailable(reason)) => Outcome::NotAvailable { reason },
        Err(Stop::Enough) => Outcome::Failed {
            reason: "the case is wrong: a loop's end outside of a loop".into(),
            trace: vec![],
        },
    };
    Verdict {
        case: case.full_name(),
        subprotocol: encoding.subprotocol(),
        proves: case.proves.clone(),
        outcome,
    }
}
