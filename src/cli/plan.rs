//! `plan`: how many of which servers a game's NPCs need, what they cost, and why.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::Usage;
use crate::planner::fleet::{Adapters, DEFAULT_MODEL, Inputs, PlanError, Request, model_of_folder, plan};
use crate::planner::instances::Catalogue;
use crate::planner::load::Load;
use crate::planner::measured::Measured;
use crate::planner::models::Models;
use crate::planner::reference::{self, INSTANCE};
use crate::planner::report::{Chart, Report, markdown, plain};
use crate::planner::simulation::simulate;
use crate::planner::what_if::{changed, market, zones};

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// NPCs in play: spread over the archetypes of --load in their proportion, or equally over the five that packs begin
    /// with.
    #[arg(long, value_name = "N", required_unless_present_any = ["load", "reference"])]
    npcs: Option<u64>,
    /// A TOML file with the archetypes' loads and the day's curve.
    #[arg(long, value_name = "FILE")]
    load: Option<PathBuf>,
    /// The base model: a name that is known, or a folder with config.json or model.toml.
    #[arg(long, value_name = "NAME|DIR", default_value = DEFAULT_MODEL)]
    model: String,
    /// What weights are held in: int8, int4 or fp16. Without it: as the gateway itself would hold the model.
    #[arg(long, value_name = "NAME")]
    precision: Option<String>,
    /// Rank of the archetypes' adapters.
    #[arg(long, value_name = "N", default_value_t = Adapters::default().rank)]
    rank: u32,
    /// A catalogue of instance types instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    instances: Option<PathBuf>,
    /// Instance types that may be used, such as g5.2xlarge,g6.xlarge.
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    only: Vec<String>,
    /// The price that the plan makes small: on-demand or spot.
    #[arg(long, value_name = "NAME", default_value = "on-demand")]
    market: String,
    /// Zones that servers are spread over.
    #[arg(long, value_name = "N", default_value_t = 1)]
    zones: u32,
    /// Replicas of every chain at least, on different servers, and in different zones where there are several.
    #[arg(long, value_name = "N", default_value_t = 1)]
    replicas: u32,
    /// Share of throughput that is left free.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    headroom: f64,
    /// Target for the 95th percentile of the time to a line's first token, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 500.0)]
    first_token_ms: f64,
    /// Target for the time between two tokens, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 50.0)]
    token_ms: f64,
    /// What `bench --json FILE` measured, instead of the built-in figures.
    #[arg(long, value_name = "FILE")]
    measured: Option<PathBuf>,
    /// Plans again with a change, such as npcs=2000, model=llama-3.1-8b, warm=0 or spot=true, and prints the difference.
    #[arg(long, value_name = "KEY=VALUE")]
    what_if: Vec<String>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The same as --format json.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Also draws a chart of cost against NPCs.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Prints the reference cases (100, 1,000 and 10,000 NPCs) beside this plan, and what of the reference design's figures
    /// holds, with the arithmetic.
    #[arg(long)]
    reference: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Markdown,
}

/// What was asked for cannot be: exit code 2.
fn usage(error: impl Into<PlanError>) -> Usage {
    Usage(error.into().to_string())
}

pub(super) fn run(args: &PlanArgs) -> anyhow::Result<()> {
    let mut models = Models::built_in()?;
    let catalogue = match &args.instances {
        Some(file) => Catalogue::parse(&file.display().to_string(), &read(file)?).map_err(usage)?,
        None => Catalogue::built_in()?,
    };
    let measured = match &args.measured {
        Some(file) => Measured::from_bench(&file.display().to_string(), &read(file)?).map_err(usage)?,
        None => Measured::built_in()?,
    };
    if Path::new(&args.model).is_dir() {
        let model = folder(&args.model)?;
        models.add(model).map_err(usage)?;
    }
    let inputs =
        Inputs { models: &models, catalogue: &catalogue, measured: &measured, simulate: Some(&simulate) };
    let request = args.request()?;
    if args.reference {
        return print_reference(&request, &inputs);
    }
    let report = Report::new(request, &args.what_if, &inputs).map_err(usage)?;
    match if args.json { Format::Json } else { args.format } {
        Format::Table => print!("{}", plain(&report)),
        Format::Json => println!("{}", report.json()?),
        Format::Markdown => print!("{}", markdown(&report)),
    }
    if let Some(file) = &args.svg {
        let chart = Chart::new(&report.request, &inputs).map_err(usage)?;
        std::fs::write(file, chart.svg()).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

impl PlanArgs {
    fn request(&self) -> anyhow::Result<Request> {
        let load = match &self.load {
            Some(file) => Load::parse(&file.display().to_string(), &read(file)?).map_err(usage)?,
            None => Load::reference(self.npcs.unwrap_or(1)),
        };
        let mut request = Request::new(load);
        request.model.clone_from(&self.model);
        request.precision.clone_from(&self.precision);
        request.adapters.rank = self.rank;
        request.only.clone_from(&self.only);
        request.market = market(&self.market).map_err(usage)?;
        request.zones = zones(self.zones);
        request.replicas = self.replicas;
        request.headroom = self.headroom;
        request.targets.first_token_ms = self.first_token_ms;
        request.targets.token_ms = self.token_ms;
        if let Some(npcs) = self.npcs {
            request = changed(&request, &[format!("npcs={npcs}")]).map_err(usage)?;
        }
        Ok(request)
    }
}

/// The text of a file of a bounded size.
fn read(file: &Path) -> anyhow::Result<String> {
    let name = || file.display().to_string();
    let mut text = String::new();
    let opened = std::fs::File::open(file).with_context(name)?;
    opened.take(MAX_BYTES + 1).read_to_string(&mut text).with_context(name)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Usage(format!("{}: has more than {MAX_BYTES} bytes", name())).into());
    }
    Ok(text)
}

/// A base model in a folder: what `import` wrote, or a checkpoint.
fn folder(name: &str) -> anyhow::Result<crate::planner::models::BaseModel> {
    let file = ["model.toml", "config.json"].map(|file| Path::new(name).join(file));
    let Some(file) = file.into_iter().find(|file| file.is_file()) else {
        return Err(Usage(format!("{name}: has neither config.json nor model.toml")).into());
    };
    Ok(model_of_folder(name, &file.display().to_string(), &read(&file)?).map_err(usage)?)
}

fn print_reference(request: &Request, inputs: &Inputs<'_>) -> anyhow::Result<()> {
    println!(
        "| NPCs | inferences/s | {INSTANCE}, as designed | on demand | spot | by its formula | on demand | spot | this plan | on \
         demand | spot |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for case in reference::cases(inputs.catalogue)? {
        let (design, formula) = (case.design, case.formula);
        let same = changed(request, &[format!("npcs={}", case.npcs)]).map_err(usage)?;
        let fleet = plan(&same, inputs).map_err(usage)?;
        let groups = fleet.groups.iter().map(|group| format!("{} {}", group.servers, group.instance));
        println!(
            "| {} | {:.1} | {} | {:.0} | {:.0} | {} | {:.0} | {:.0} | {} | {:.0} | {:.0} |",
            case.npcs,
            case.rates.inferences_per_s,
            design.servers,
            design.on_demand_usd_per_month,
            design.spot_usd_per_month,
            formula.servers,
            formula.on_demand_usd_per_month,
            formula.spot_usd_per_month,
            groups.collect::<Vec<_>>().join(", "),
            fleet.cost.on_demand_usd_per_month,
            fleet.cost.spot_usd_per_month
        );
    }
    println!(
        "\nDollars a month. This plan: {}, with the figures that `plan --npcs N` prints.",
        request.model
    );
    println!("What the reference design says, and what of it holds:");
    for claim in reference::claims(inputs.models, inputs.catalogue)? {
        let holds = if claim.holds { "holds" } else { "does not hold" };
        println!("\n{}: {} ({holds}): {}", claim.topic, claim.says, claim.finding);
        for line in claim.arithmetic {
            println!("    {line}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        plan: PlanArgs,
    }

    fn request(args: &[&str]) -> anyhow::Result<Request> {
        Cli::try_parse_from([&["plan"], args].concat())?.plan.request()
    }

    #[test]
    fn flags_without_values_are_the_planners_defaults() {
        let wanted = Request::new(Load::reference(500));
        assert_eq!(request(&["--npcs", "500"]).unwrap(), wanted);
        assert_eq!(request(&["--npcs", "500", "--json"]).unwrap(), wanted);
        assert!(request(&[]).unwrap_err().to_string().contains("--npcs"));
    }

    #[test]
    fn flags_say_what_is_asked_for() {
        let asked =
            request(&["--npcs", "9", "--only", "g5.xlarge,g6.xlarge", "--market", "spot", "--zones", "2"]);
        let asked = asked.unwrap();
        assert_eq!((asked.only.len(), asked.zones.len(), asked.load.npcs()), (2, 2, 9));
        let error = request(&["--npcs", "9", "--market", "black"]).unwrap_err();
        assert!(error.is::<Usage>() && error.to_string().contains("there is no market"));
        assert!(
            request(&["--npcs", "9", "--headroom", "2"]).unwrap_err().to_string().contains("headroom is 2")
        );
    }

    #[test]
    fn a_load_is_read_and_brought_to_so_many_npcs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("load.toml");
        std::fs::write(
            &file,
            "[[archetype]]\nname = \"a\"\nnpcs = 30\n[[archetype]]\nname = \"b\"\nnpcs = 10\n",
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let npcs = |args: &[&str]| -> Vec<u64> {
            request(args).unwrap().load.archetypes.iter().map(|archetype| archetype.npcs).collect()
        };
        assert_eq!(npcs(&["--load", file]), [30, 10]);
        assert_eq!(npcs(&["--load", file, "--npcs", "400"]), [300, 100]);
    }

    #[test]
    fn a_folder_without_a_model_is_refused() {
        let empty = tempfile::tempdir().unwrap();
        let error = folder(empty.path().to_str().unwrap()).unwrap_err();
        assert!(error.is::<Usage>() && error.to_string().contains("neither config.json nor model.toml"));
    }
}
