//! The reference cases beside the plan for as many NPCs, and what of the reference design holds.

use std::fmt::Write;

use super::super::fleet::{Inputs, PlanError, Request, plan};
use super::super::reference::{self, Case, INSTANCE};
use super::super::what_if::changed;
use super::escape::printable;

/// As Markdown: a table of the cases, and the claims with their arithmetic. A case without a plan says why.
///
/// # Errors
/// The catalogue or the models lack what the reference design speaks of, or the request is out of range.
pub fn reference_cases(request: &Request, inputs: &Inputs<'_>) -> Result<String, PlanError> {
    let mut out = format!(
        "| NPCs | inferences/s | {INSTANCE}, as designed | on demand | spot | by its formula | on demand | spot | this plan | on \
         demand | spot |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    let mut warnings = Vec::new();
    for case in reference::cases(inputs.catalogue)? {
        let own = own(&case, request, inputs, &mut warnings)?;
        let (design, formula) = (case.design, case.formula);
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "| {} | {:.1} | {} | {:.0} | {:.0} | {} | {:.0} | {:.0} | {own} |",
            case.npcs,
            case.rates.inferences_per_s,
            design.servers,
            design.on_demand_usd_per_month,
            design.spot_usd_per_month,
            formula.servers,
            formula.on_demand_usd_per_month,
            formula.spot_usd_per_month
        );
    }
    let model = printable(&request.model);
    let _ =
        writeln!(out, "\nDollars a month. This plan: {model}, with the figures that `plan --npcs N` prints.");
    for warning in warnings {
        let _ = writeln!(out, "{warning}");
    }
    let _ = writeln!(out, "What the reference design says, and what of it holds:");
    for claim in reference::claims(inputs.models, inputs.catalogue)? {
        let holds = if claim.holds { "holds" } else { "does not hold" };
        let _ = writeln!(out, "\n{}: {} ({holds}): {}", claim.topic, claim.says, claim.finding);
        for line in claim.arithmetic {
            let _ = writeln!(out, "    {line}");
        }
    }
    Ok(out)
}

/// The last three cells of a case.
fn own(
    case: &Case,
    request: &Request,
    inputs: &Inputs<'_>,
    warnings: &mut Vec<String>,
) -> Result<String, PlanError> {
    let same = changed(request, &[format!("npcs={}", case.npcs)])?;
    let fleet = match plan(&same, inputs) {
        Ok(fleet) => fleet,
        Err(error) => {
            return Ok(format!("no plan: {} | - | -", printable(&error.to_string()).replace('|', "/")));
        }
    };
    warnings.extend(fleet.warnings().map(|note| format!("{} NPCs: {}", case.npcs, printable(note))));
    let groups = fleet.groups.iter().map(|group| format!("{} {}", group.servers, group.instance));
    Ok(format!(
        "{} | {:.0} | {:.0}",
        groups.collect::<Vec<_>>().join(", "),
        fleet.cost.on_demand_usd_per_month,
        fleet.cost.spot_usd_per_month
    ))
}
