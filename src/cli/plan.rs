//! `plan`: how many of which servers a game's NPCs need, what they cost, and why.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::Usage;
use crate::planner::fleet::{Adapters, CONTEXT, DEFAULT_MODEL, Inputs, PlanError, Request, model_of_folder};
use crate::planner::instances::Catalogue;
use crate::planner::load::Load;
use crate::planner::measured::Measured;
use crate::planner::models::{BaseModel, Folder, Models};
use crate::planner::report::{Chart, Report, markdown, plain, reference_cases};
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
    /// The base model of one archetype where it is another; may be given several times.
    #[arg(long, value_name = "NAME=MODEL")]
    archetype_model: Vec<String>,
    /// Tokens that a row may hold: engine.context.
    #[arg(long, value_name = "N", default_value_t = CONTEXT)]
    context: u64,
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
    #[arg(long, conflicts_with_all = ["json", "format", "svg", "what_if"])]
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
    let request = args.request()?;
    for name in std::iter::once(&request.model).chain(request.models.values()) {
        if is_folder(name, &models) {
            models.add(folder(name)?).map_err(usage)?;
        }
    }
    let inputs =
        Inputs { models: &models, catalogue: &catalogue, measured: &measured, simulate: Some(&simulate) };
    if args.reference {
        print!("{}", reference_cases(&request, &inputs).map_err(usage)?);
        return Ok(());
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
        for named in &self.archetype_model {
            let Some((archetype, model)) = named.split_once('=') else {
                return Err(Usage(format!("--archetype-model is {named:?}, but must be NAME=MODEL")).into());
            };
            if request.models.insert(archetype.to_owned(), model.to_owned()).is_some() {
                return Err(Usage(format!("--archetype-model names {archetype} twice")).into());
            }
        }
        request.context_tokens = self.context;
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
        request.check().map_err(usage)?;
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

/// Whether a model's name means a folder: a name that is known does not, even where a folder has it, unless it is a path.
fn is_folder(name: &str, models: &Models) -> bool {
    let path = name.contains(std::path::is_separator);
    (path || !models.has(name)) && Path::new(name).is_dir()
}

/// A base model in a folder: what `import` wrote, or a checkpoint.
fn folder(name: &str) -> anyhow::Result<BaseModel> {
    let file = ["model.toml", "config.json"].map(|file| Path::new(name).join(file));
    let Some(file) = file.into_iter().find(|file| file.is_file()) else {
        return Err(Usage(format!("{name}: has neither config.json nor model.toml")).into());
    };
    let mut model = model_of_folder(name, &file.display().to_string(), &read(&file)?).map_err(usage)?;
    let native = std::fs::metadata(Path::new(name).join("native.bin")).ok();
    model.folder = Some(Folder { native_bytes: native.map(|file| file.len()) });
    Ok(model)
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
    fn archetypes_may_have_models_of_their_own() {
        let named = ["--npcs", "9", "--context", "2048", "--archetype-model", "lich=llama-3.1-8b"];
        let asked = request(&[&named[..], &["--archetype-model", "ghoul=a=b"]].concat()).unwrap();
        assert_eq!(asked.context_tokens, 2048);
        assert_eq!((asked.model_of("lich"), asked.model_of("ghoul")), ("llama-3.1-8b", "a=b"));
        assert_eq!(asked.model_of("zombie"), DEFAULT_MODEL);
        for (bad, wanted) in [
            ("lich", "must be NAME=MODEL"),
            ("lich=smollm2-360m", "names lich twice"),
            ("dragon=smollm2-135m", "no archetype \"dragon\""),
        ] {
            let error = request(&[&named[..], &["--archetype-model", bad]].concat()).unwrap_err();
            assert!(error.is::<Usage>() && error.to_string().contains(wanted), "{error}");
        }
    }

    #[test]
    fn the_reference_cases_are_printed_alone() {
        request(&["--reference"]).unwrap();
        for other in [&["--json"][..], &["--format", "json"], &["--svg", "x.svg"], &["--what-if", "npcs=2"]] {
            let error = request(&[&["--reference"], other].concat()).unwrap_err().to_string();
            assert!(error.contains("cannot be used with"), "{error}");
        }
    }

    #[test]
    fn a_known_name_is_no_folder_unless_it_is_a_path() {
        let models = Models::built_in().unwrap();
        assert!(!is_folder(DEFAULT_MODEL, &models) && !is_folder("no-such-folder", &models));
        let there = tempfile::tempdir().unwrap();
        let path = there.path().join(DEFAULT_MODEL);
        std::fs::create_dir(&path).unwrap();
        assert!(is_folder(path.to_str().unwrap(), &models));
        // The folder that a test runs in has this one.
        assert!(is_folder("src", &models));
        let mut named = models.clone();
        named.add(BaseModel { name: "src".into(), ..models.get(DEFAULT_MODEL).unwrap().clone() }).unwrap();
        assert!(!is_folder("src", &named) && is_folder("./src", &named));
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
