//! `plan`: what a fleet needs and costs. So far: the reference cases.

use clap::Args;

use super::Usage;
use crate::planner::instances::Catalogue;
use crate::planner::models::Models;
use crate::planner::reference::{self, INSTANCE};

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// Prints the reference cases (100, 1,000 and 10,000 NPCs) and what of the reference design's figures holds, with the
    /// arithmetic.
    #[arg(long)]
    reference: bool,
    /// Of what is not there yet: taken, so that the answer is about that.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _later: Vec<String>,
}

pub(super) fn run(args: &PlanArgs) -> anyhow::Result<()> {
    if !args.reference {
        let reason = "`plan` is not available in this version but for `plan --reference`, which prints the reference cases";
        return Err(Usage(reason.into()).into());
    }
    let (models, catalogue) = (Models::built_in()?, Catalogue::built_in()?);
    println!(
        "| NPCs | inferences/s | {INSTANCE}, as designed | on demand | spot | by its formula | on demand | spot |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for case in reference::cases(&catalogue)? {
        let (design, formula) = (case.design, case.formula);
        println!(
            "| {} | {:.1} | {} | {:.0} | {:.0} | {} | {:.0} | {:.0} |",
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
    println!("\nDollars a month. What the reference design says, and what of it holds:");
    for claim in reference::claims(&models, &catalogue)? {
        let holds = if claim.holds { "holds" } else { "does not hold" };
        println!("\n{}: {} ({holds}): {}", claim.topic, claim.says, claim.finding);
        for line in claim.arithmetic {
            println!("    {line}");
        }
    }
    Ok(())
}
