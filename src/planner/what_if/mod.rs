//! What if: a request with changes, and the second plan beside the first.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::fleet::{Fleet, Inputs, PlanError, Request, plan};
use super::input::InputError;
use super::load::{ArchetypeLoad, Curve, Load};
use super::packing::Market;

/// What can be changed.
const KEYS: [&str; 20] = [
    "npcs",
    "model",
    "precision",
    "actions",
    "lines",
    "choices",
    "prompt",
    "answer",
    "warm",
    "choice-warm",
    "swing",
    "rank",
    "market",
    "spot",
    "headroom",
    "first-token-ms",
    "token-ms",
    "zones",
    "replicas",
    "only",
];

/// Changes that one comparison may have.
const MOST_CHANGES: u64 = 32;

/// A second plan, and what it comes to beside the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhatIf {
    /// As they were given, `key=value`.
    pub changes: Vec<String>,
    pub fleet: Fleet,
    /// The second plan less the first.
    pub servers: i64,
    pub on_demand_usd_per_month: f64,
    pub spot_usd_per_month: f64,
}

/// The request with changes of the form `key=value`.
///
/// # Errors
/// No `=`, a key that is not known, a value of another kind, or one out of its range.
pub fn changed(request: &Request, changes: &[String]) -> Result<Request, InputError> {
    if changes.len() as u64 > MOST_CHANGES {
        return Err(InputError::bad(
            "--what-if (how many)",
            changes.len(),
            format!("at most {MOST_CHANGES}"),
        ));
    }
    let mut changed = request.clone();
    for change in changes {
        let Some((key, value)) = change.split_once('=') else {
            return Err(InputError::bad("--what-if", format!("{change:?}"), "of the form key=value"));
        };
        apply(&mut changed, key.trim(), value.trim())?;
    }
    changed.check()?;
    Ok(changed)
}

/// The second plan.
///
/// # Errors
/// As [`changed`], and as [`plan`] for the second plan.
pub fn what_if(
    request: &Request,
    first: &Fleet,
    changes: &[String],
    inputs: &Inputs<'_>,
) -> Result<WhatIf, PlanError> {
    let fleet = plan(&changed(request, changes)?, inputs)?;
    Ok(WhatIf {
        changes: changes.to_vec(),
        servers: fleet.servers.len() as i64 - first.servers.len() as i64,
        on_demand_usd_per_month: fleet.cost.on_demand_usd_per_month - first.cost.on_demand_usd_per_month,
        spot_usd_per_month: fleet.cost.spot_usd_per_month - first.cost.spot_usd_per_month,
        fleet,
    })
}

fn apply(request: &mut Request, key: &str, value: &str) -> Result<(), InputError> {
    let real = || number::<f64>(key, value, "a number");
    let mut each = |set: &dyn Fn(&mut ArchetypeLoad)| request.load.archetypes.iter_mut().for_each(set);
    match key {
        "npcs" => spread(&mut request.load.archetypes, number(key, value, "a whole number")?),
        "model" => {
            value.clone_into(&mut request.model);
            request.models.clear();
        }
        "precision" => request.precision = (value != "own").then(|| value.to_owned()),
        "actions" => {
            let value = real()?;
            each(&|load| load.actions_per_npc_per_s = value);
        }
        "lines" => {
            let value = real()?;
            each(&|load| load.lines_per_action = value);
        }
        "choices" => {
            let value = real()?;
            each(&|load| load.choices_per_action = value);
        }
        "prompt" => {
            let value = real()?;
            each(&|load| load.line.prompt = value);
        }
        "answer" => {
            let value = real()?;
            each(&|load| load.line.answer = value);
        }
        "warm" => {
            let value = real()?;
            each(&|load| load.line.warm_share = value);
        }
        "choice-warm" => {
            let value = real()?;
            each(&|load| load.choice.warm_share = value);
        }
        "swing" => request.load.curve = Curve::evening(real()?),
        "rank" => request.adapters.rank = number(key, value, "a whole number")?,
        "market" => request.market = market(value)?,
        "spot" => {
            let spot: bool = number(key, value, "true or false")?;
            request.market = if spot { Market::Spot } else { Market::OnDemand };
        }
        "headroom" => request.headroom = real()?,
        "first-token-ms" => request.targets.first_token_ms = real()?,
        "token-ms" => request.targets.token_ms = real()?,
        "zones" => request.zones = zones(number(key, value, "a whole number")?),
        "replicas" => request.replicas = number(key, value, "a whole number")?,
        "only" => request.only = value.split(',').map(|name| name.trim().to_owned()).collect(),
        _ => return Err(InputError::unknown("--what-if", key, KEYS)),
    }
    Ok(())
}

fn number<T: std::str::FromStr>(key: &str, value: &str, wanted: &str) -> Result<T, InputError> {
    value.parse().map_err(|_| InputError::bad(format!("--what-if {key}"), format!("{value:?}"), wanted))
}

/// The market of a name.
///
/// # Errors
/// No market has it.
pub fn market(name: &str) -> Result<Market, InputError> {
    match name {
        "on-demand" => Ok(Market::OnDemand),
        "spot" => Ok(Market::Spot),
        _ => Err(InputError::unknown("market", name, ["on-demand", "spot"])),
    }
}

/// So many zones, named a, b, ..., z, zone27, ...; at most 65, which the request's check refuses.
pub fn zones(count: u32) -> Vec<String> {
    let name = |index: u32| match u8::try_from(index) {
        Ok(index) if index < 26 => char::from(b'a' + index).to_string(),
        _ => format!("zone{}", index + 1),
    };
    (0..count.min(65)).map(name).collect()
}

/// Gives the archetypes so many NPCs in all: in the proportion that they have, or equally where all have the same number.
/// The reference load stays the reference load, whose five archetypes differ by one where five do not divide them.
fn spread(archetypes: &mut [ArchetypeLoad], npcs: u64) {
    let counts = || archetypes.iter().map(|load| load.npcs);
    let all: u128 = counts().map(u128::from).sum();
    let count = archetypes.len() as u64;
    if all == u128::from(npcs) || count == 0 {
        return;
    }
    let reference = Load::reference(u64::try_from(all).unwrap_or(u64::MAX)).archetypes;
    let who = |load: &ArchetypeLoad| (load.name.clone(), load.npcs);
    let equally = counts().all(|npcs| npcs == archetypes[0].npcs)
        || archetypes.iter().map(who).eq(reference.iter().map(who));
    let (mut seen, mut given) = (0_u128, 0_u64);
    for (index, load) in (0..).zip(archetypes) {
        if equally {
            load.npcs = npcs / count + u64::from(index < npcs % count);
            continue;
        }
        seen += u128::from(load.npcs);
        let upto = (u128::from(npcs) * seen / all) as u64;
        load.npcs = upto - given;
        given = upto;
    }
}
