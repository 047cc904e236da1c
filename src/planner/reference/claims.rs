//! Every figure of the reference design: what it says, whether that holds, and the arithmetic.

use super::super::input::InputError;
use super::super::instances::{Catalogue, HOURS_PER_MONTH, Instance};
use super::super::load::{ACTIONS_PER_NPC_PER_S, ArchetypeLoad, CHOICE_TASKS, SPOKEN_TASKS};
use super::super::memory::{Precision, gigabytes};
use super::super::models::Models;
use super::words::{dollars, number};
use super::{
    Case, INFERENCES_PER_S, INFERENCES_PER_SERVER_PER_S, INSTANCE, ON_DEMAND_USD_PER_MONTH, SERVERS,
    SPOT_USD_PER_MONTH, cases,
};

/// How far a figure may lie from what the arithmetic gives and still hold, as a share: the design rounds.
const ROUNDED: f64 = 0.01;

/// Adapters of the reference design, and the size that it gives each, in bytes.
const ADAPTERS: u64 = 35;
const ADAPTER_BYTES: u64 = 200_000_000;

/// What it says that they take together.
const ADAPTERS_BYTES: u64 = 1_400_000_000;

/// The model that it means to run on one card.
const LARGE_MODEL: &str = "llama-3.1-70b";

/// A figure of the reference design.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Such as `servers for 100 NPCs`.
    pub topic: String,
    /// What the design says.
    pub says: String,
    /// Whether it holds.
    pub holds: bool,
    /// What holds instead, or what it holds for.
    pub finding: String,
    /// Line by line.
    pub arithmetic: Vec<String>,
}

/// All of them.
///
/// # Errors
/// The catalogue or the models lack what the design speaks of.
pub fn claims(models: &Models, catalogue: &Catalogue) -> Result<Vec<Claim>, InputError> {
    let cases = cases(catalogue)?;
    let instance = catalogue.get(INSTANCE)?;
    let mut claims = Vec::new();
    for (case, (_, servers)) in cases.iter().zip(SERVERS) {
        claims.push(count(case, servers));
        if case.npcs == 10_000 {
            claims.extend([inferences(case), kinds(case), on_demand(case, instance), spot(case, instance)]);
        }
    }
    claims.push(adapters());
    claims.push(large_model(models, instance)?);
    Ok(claims)
}

fn rounds_to(is: f64, says: f64) -> bool {
    (is - says).abs() <= ROUNDED * says
}

fn count(case: &Case, says: u64) -> Claim {
    let inferences = case.rates.inferences_per_s;
    let gives = case.formula.servers;
    let implied = inferences / says as f64;
    let finding = if inferences == INFERENCES_PER_S && implied == INFERENCES_PER_SERVER_PER_S {
        format!(
            "the design's own formula gives {gives}, by construction: {INFERENCES_PER_SERVER_PER_S} inferences/s a server \
             was itself derived from {} / {says}",
            number(INFERENCES_PER_S, 0)
        )
    } else if gives == says {
        format!("the design's own formula gives {gives}")
    } else {
        format!(
            "the design's own formula gives {gives}; with {says}, a server would have to do {implied} a second"
        )
    };
    Claim {
        topic: format!("servers for {} NPCs", number(case.npcs as f64, 0)),
        says: format!("{says} {INSTANCE}"),
        holds: gives == says,
        finding,
        arithmetic: vec![
            inference_line(case),
            format!(
                "{} / {INFERENCES_PER_SERVER_PER_S} a server = {}, rounded up {gives}",
                number(inferences, 1),
                number(inferences / INFERENCES_PER_SERVER_PER_S, 2)
            ),
            format!("{} / {says} servers = {} a server", number(inferences, 1), number(implied, 1)),
        ],
    }
}

fn inference_line(case: &Case) -> String {
    let tasks = ArchetypeLoad::new("any", 1).tasks_per_action();
    format!(
        "{} NPCs x {ACTIONS_PER_NPC_PER_S} actions/s x {tasks} tasks = {} inferences/s",
        number(case.npcs as f64, 0),
        number(case.rates.inferences_per_s, 1)
    )
}

fn inferences(case: &Case) -> Claim {
    Claim {
        topic: "inferences a second of 10,000 NPCs".into(),
        says: number(INFERENCES_PER_S, 0),
        holds: rounds_to(case.rates.inferences_per_s, INFERENCES_PER_S),
        finding: format!(
            "so many tasks; the gateway makes {} requests of them, since the {} spoken tasks are mixed into one line",
            number(case.rates.requests_per_s(), 0),
            SPOKEN_TASKS.len()
        ),
        arithmetic: vec![
            inference_line(case),
            format!(
                "{} actions/s x (1 line + {} choices) = {} requests/s",
                number(case.rates.actions_per_s, 0),
                CHOICE_TASKS.len(),
                number(case.rates.requests_per_s(), 0)
            ),
        ],
    }
}

fn kinds(case: &Case) -> Claim {
    let rates = case.rates;
    let ArchetypeLoad { line, choice, .. } = ArchetypeLoad::new("any", 1);
    let share = rates.choices_per_s / rates.requests_per_s();
    Claim {
        topic: "what an inference is".into(),
        says: format!(
            "one rate, {INFERENCES_PER_SERVER_PER_S} a second for each server, stands for all of them"
        ),
        holds: false,
        finding: format!(
            "{:.0} % of the requests are short Choose calls, which generate nothing; only lines decode",
            share * 100.0
        ),
        arithmetic: vec![
            format!("Generate, one line of {}: {} /s", SPOKEN_TASKS.join(", "), number(rates.lines_per_s, 0)),
            format!("Choose, one each of {}: {} /s", CHOICE_TASKS.join(", "), number(rates.choices_per_s, 0)),
            format!(
                "{} / {} requests/s = {:.0} % Choose; of the tasks {} of {}",
                number(rates.choices_per_s, 0),
                number(rates.requests_per_s(), 0),
                share * 100.0,
                CHOICE_TASKS.len(),
                CHOICE_TASKS.len() + SPOKEN_TASKS.len()
            ),
            format!(
                "decode: {} lines/s x {} tokens = {} tokens/s",
                number(rates.lines_per_s, 0),
                line.answer,
                number(rates.decode_tokens_per_s, 0)
            ),
            format!(
                "prefill: {} lines/s x {} tokens x {:.0} % cold + {} choices/s x ({} x {:.0} % cold + {} of options) = {} tokens/s",
                number(rates.lines_per_s, 0),
                line.prompt,
                (1.0 - line.warm_share) * 100.0,
                number(rates.choices_per_s, 0),
                choice.prompt,
                (1.0 - choice.warm_share) * 100.0,
                choice.options,
                number(rates.prefill_tokens_per_s, 0)
            ),
        ],
    }
}

fn on_demand(case: &Case, instance: &Instance) -> Claim {
    let is = case.design.on_demand_usd_per_month;
    Claim {
        topic: "10,000 NPCs on demand, a month".into(),
        says: dollars(ON_DEMAND_USD_PER_MONTH),
        holds: rounds_to(is, ON_DEMAND_USD_PER_MONTH),
        finding: format!("{} at the price of {}", dollars(is), instance.price_source.date),
        arithmetic: vec![month(case.design.servers, instance.on_demand_usd_per_hour, is)],
    }
}

fn spot(case: &Case, instance: &Instance) -> Claim {
    let is = case.design.spot_usd_per_month;
    let hours = case.design.servers as f64 * HOURS_PER_MONTH;
    let implied = SPOT_USD_PER_MONTH / hours;
    let kind = if instance.spot_is_assumed { "assumed" } else { "observed" };
    let share = |price: f64| format!("{:.0} %", price / instance.on_demand_usd_per_hour * 100.0);
    Claim {
        topic: "10,000 NPCs on the spot market, a month".into(),
        says: format!("about {}", dollars(SPOT_USD_PER_MONTH)),
        holds: rounds_to(is, SPOT_USD_PER_MONTH),
        finding: format!(
            "it takes spot to cost {} of on demand; at the price {kind} in {} ({}) it is {}",
            share(implied),
            instance.spot_source.date,
            share(instance.spot_usd_per_hour),
            dollars(is)
        ),
        arithmetic: vec![
            format!(
                "{} / ({} servers x {HOURS_PER_MONTH} h) = {implied:.3} dollars/h, {} of {}",
                dollars(SPOT_USD_PER_MONTH),
                case.design.servers,
                share(implied),
                instance.on_demand_usd_per_hour
            ),
            month(case.design.servers, instance.spot_usd_per_hour, is),
        ],
    }
}

fn month(servers: u64, usd_per_hour: f64, usd_per_month: f64) -> String {
    format!("{servers} servers x {usd_per_hour} dollars/h x {HOURS_PER_MONTH} h = {}", dollars(usd_per_month))
}

fn adapters() -> Claim {
    let is = ADAPTERS * ADAPTER_BYTES;
    let chain = (CHOICE_TASKS.len() + SPOKEN_TASKS.len()) as u64;
    Claim {
        topic: "memory of 35 adapters of 200 MB".into(),
        says: gigabytes(ADAPTERS_BYTES),
        holds: is == ADAPTERS_BYTES,
        finding: format!(
            "{}; {} are the {chain} adapters of one archetype",
            gigabytes(is),
            gigabytes(ADAPTERS_BYTES)
        ),
        arithmetic: vec![
            format!("{ADAPTERS} x 200 MB = {}", gigabytes(is)),
            format!("{chain} x 200 MB = {}", gigabytes(chain * ADAPTER_BYTES)),
        ],
    }
}

fn large_model(models: &Models, instance: &Instance) -> Result<Claim, InputError> {
    let model = models.get(LARGE_MODEL)?;
    let architecture = &model.architecture;
    let (scheme, parameters) = (Precision::Int4.scheme(), architecture.parameters());
    let (linear, rest) = (scheme.linear_bytes(architecture), scheme.embedding_bytes(architecture));
    let (all, card) = (scheme.bytes(architecture), instance.device.memory_bytes);
    let missing = all.saturating_sub(card);
    Ok(Claim {
        topic: "a 70B model at 4 bits on one card of 24 GB".into(),
        says: "it fits".into(),
        holds: missing == 0,
        finding: format!(
            "the linear layers alone need {}, with embedding and head in 16 bits {}; {} too little, before any keys and \
             values",
            gigabytes(linear),
            gigabytes(all),
            gigabytes(missing)
        ),
        arithmetic: vec![
            format!(
                "{} weights of linear layers x {} bits / 8 = {}",
                number(parameters.linear as f64, 0),
                scheme.linear_bits,
                gigabytes(linear)
            ),
            format!(
                "{} weights of embedding and head x {} bits / 8 = {}",
                number((parameters.embedding + parameters.head) as f64, 0),
                scheme.embedding_bits,
                gigabytes(rest)
            ),
            format!(
                "{} - {} of one {} = {}",
                gigabytes(all),
                gigabytes(card),
                instance.device.name,
                gigabytes(missing)
            ),
        ],
    })
}
