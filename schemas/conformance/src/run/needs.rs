//! What cases need of a run.

use crate::case::{Case, Need};
use crate::tokens::Tokens;

use super::Suite;

/// Whether the run has all of it.
///
/// # Errors
/// What is missing.
pub fn check(suite: &Suite, case: &Case) -> Result<(), String> {
    case.needs.iter().try_for_each(|need| match need {
        Need::Named(name) => named(suite, name),
        Need::Told { told } => {
            let there = suite.vars.get(&format!("told.{told}")).is_some();
            if there { Ok(()) } else { Err(format!("--told {told}=… is needed")) }
        }
        Need::AtMost { at_most: (value, bound) } => {
            let number = |value| suite.vars.number(value, &suite.tokens);
            match (number(value), number(bound)) {
                (Ok(value), Ok(bound)) if value <= bound => Ok(()),
                (Ok(number), Ok(bound)) => Err(format!("{value} is {number}, and at most {bound} is needed")),
                (Err(_), _) => Err(format!("the server does not tell {value}")),
                (_, Err(_)) => Err(format!("the server does not tell {bound}")),
            }
        }
    })
}

fn named(suite: &Suite, name: &str) -> Result<(), String> {
    let (dev, signed) = (matches!(suite.tokens, Tokens::Dev), matches!(suite.tokens, Tokens::Signed(_)));
    let (there, wanted) = match name {
        "dev" => (dev, "a server in `dev` mode is needed"),
        "jwt" => (signed, "a server in `jwt` mode is needed, and --jwt-secret or --jwt-key"),
        "players" => (dev || signed, "tokens of other players are needed (--jwt-secret or --jwt-key)"),
        "loopback" => (
            dev && !suite.options.target.authority.starts_with("localhost"),
            "a server in `dev` mode at an address is needed",
        ),
        "drain" => (suite.options.drain_pid.is_some(), "--drain-pid is needed"),
        _ => (false, "the case is wrong: nobody knows what it needs"),
    };
    if there { Ok(()) } else { Err(wanted.to_owned()) }
}
