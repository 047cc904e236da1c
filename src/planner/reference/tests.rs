use super::words::number;
use super::*;
use crate::planner::models::Models;

fn all() -> Vec<Claim> {
    claims(&Models::built_in().unwrap(), &Catalogue::built_in().unwrap()).unwrap()
}

fn claim(topic: &str) -> Claim {
    all().into_iter().find(|claim| claim.topic.contains(topic)).unwrap()
}

#[test]
fn the_formula_gives_2_18_and_175_servers() {
    let cases = cases(&Catalogue::built_in().unwrap()).unwrap();
    let servers = cases.iter().map(|case| (case.npcs, case.design.servers, case.formula.servers));
    assert_eq!(servers.collect::<Vec<_>>(), [(100, 1, 2), (1000, 5, 18), (10_000, 175, 175)]);
    let dollars = cases.iter().map(|case| {
        let Cost { on_demand_usd_per_month, spot_usd_per_month, .. } = case.formula;
        (on_demand_usd_per_month.round(), spot_usd_per_month.round())
    });
    assert_eq!(dollars.collect::<Vec<_>>(), [(1770.0, 754.0), (15_926.0, 6787.0), (154_833.0, 65_983.0)]);
    assert_eq!(cases[0].design.on_demand_usd_per_month.round(), 885.0);
    assert_eq!(cases[1].design.on_demand_usd_per_month.round(), 4424.0);
    assert_eq!([0.0, 1.0, 50.0, 50.1].map(formula_servers), [0, 1, 1, 2]);
}

#[test]
fn each_claim_holds_or_not_with_its_arithmetic() {
    let held = all().iter().map(|claim| (claim.topic.clone(), claim.holds)).collect::<Vec<_>>();
    let held = held.iter().map(|(topic, holds)| (topic.as_str(), *holds)).collect::<Vec<_>>();
    assert_eq!(
        held,
        [
            ("servers for 100 NPCs", false),
            ("servers for 1,000 NPCs", false),
            ("servers for 10,000 NPCs", true),
            ("inferences a second of 10,000 NPCs", true),
            ("what an inference is", false),
            ("10,000 NPCs on demand, a month", true),
            ("10,000 NPCs on the spot market, a month", false),
            ("memory of 35 adapters of 200 MB", false),
            ("a 70B model at 4 bits on one card of 24 GB", false),
        ]
    );
    for claim in all() {
        assert!(!claim.arithmetic.is_empty() && !claim.finding.is_empty() && !claim.says.is_empty());
    }
}

#[test]
fn servers_are_counted_in_words() {
    let claim = claim("servers for 1,000 NPCs");
    assert_eq!(claim.says, "5 g5.2xlarge");
    assert_eq!(
        claim.finding,
        "the design's own formula gives 18; with 5, a server would have to do 175 a second"
    );
    assert_eq!(
        claim.arithmetic,
        [
            "1,000 NPCs x 0.125 actions/s x 7 tasks = 875.0 inferences/s",
            "875.0 / 50 a server = 17.50, rounded up 18",
            "875.0 / 5 servers = 175.0 a server",
        ]
    );
}

#[test]
fn what_holds_by_construction_is_said() {
    let finding = claim("servers for 10,000 NPCs").finding;
    assert!(finding.ends_with(
        "gives 175, by construction: 50 inferences/s a server was itself derived from 8,750 / 175"
    ));
}

#[test]
fn dollars_are_servers_times_price_times_hours() {
    assert_eq!(claim("on demand").arithmetic, ["175 servers x 1.212 dollars/h x 730 h = 154,833 dollars"]);
    let spot = claim("spot market");
    assert_eq!(
        spot.arithmetic,
        [
            "46,500 dollars / (175 servers x 730 h) = 0.364 dollars/h, 30 % of 1.212",
            "175 servers x 0.5165 dollars/h x 730 h = 65,983 dollars",
        ]
    );
    assert!(
        spot.finding.starts_with("it takes spot to cost 30 % of on demand; at the price observed in 2025-")
    );
}

#[test]
fn memory_is_counted_in_words() {
    let adapters = claim("35 adapters");
    assert_eq!((adapters.says.as_str(), adapters.holds), ("1.40 GB", false));
    assert_eq!(adapters.arithmetic, ["35 x 200 MB = 7.00 GB", "7 x 200 MB = 1.40 GB"]);
    assert_eq!(
        claim("70B").arithmetic,
        [
            "68,451,041,280 weights of linear layers x 4.5 bits / 8 = 38.5 GB",
            "2,101,346,304 weights of embedding and head x 16 bits / 8 = 4.20 GB",
            "42.7 GB - 24.0 GB of one A10G = 18.7 GB",
        ]
    );
}

#[test]
fn most_requests_are_choose_calls() {
    let kinds = claim("what an inference is");
    assert!(kinds.finding.starts_with("80 % of the requests are short Choose calls"));
    assert!(kinds.arithmetic.contains(&"decode: 1,250 lines/s x 48 tokens = 60,000 tokens/s".to_owned()));
    assert!(kinds.arithmetic[4].ends_with("= 430,000 tokens/s"), "{}", kinds.arithmetic[4]);
}

#[test]
fn numbers_have_commas() {
    let written =
        [(0.0, 0), (999.0, 0), (1000.0, 0), (-1234.5, 1), (1_234_567.0, 2)].map(|(v, d)| number(v, d));
    assert_eq!(written, ["0", "999", "1,000", "-1,234.5", "1,234,567.00"]);
    assert_eq!([number(f64::NAN, 0), number(f64::INFINITY, 0)], ["NaN", "inf"]);
}
