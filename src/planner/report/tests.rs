use proptest::prelude::*;

use super::*;
use crate::planner::fleet::tests::Data;
use crate::planner::instances::Catalogue;
use crate::planner::load::{ArchetypeLoad, Load};

fn report(npcs: u64, changes: &[&str]) -> Report {
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    Report::new(Request::new(Load::reference(npcs)), &changes, &Data::new().inputs()).unwrap()
}

/// Numbers as people write them, back.
fn parsed(text: &str) -> f64 {
    text.replace(',', "").parse().unwrap()
}

/// The value of an attribute, for each element that has it.
fn attributes<'a>(svg: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    svg.split(start.as_str()).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn json_comes_back_as_it_was() {
    for report in [report(1000, &[]), report(30, &["npcs=300", "spot=true"])] {
        let text = report.json().unwrap();
        assert_eq!(Report::parse("plan.json", &text).unwrap(), report);
        let other = text.replacen("\"version\": 1", "\"version\": 9", 1);
        assert!(
            Report::parse("plan.json", &other).unwrap_err().to_string().contains("plan.json: version is 9")
        );
    }
    assert!(
        Report::parse("plan.json", "{}").unwrap_err().to_string().starts_with("plan.json is missing field")
    );
}

#[test]
fn the_reference_design_stands_beside_its_own_cases() {
    let report = report(1000, &[]);
    let reference = report.reference.as_ref().unwrap();
    assert_eq!((reference.servers, reference.formula_servers), (5, 18));
    assert!(
        plain(&report).contains("The reference design has 5 g5.2xlarge for so many NPCs, its own formula 18")
    );
    assert!(self::report(1001, &[]).reference.is_none());
    assert!(plain(&self::report(1, &[])).starts_with("Cost\n1 server for 1 NPC: "));
}

/// A catalogue of one type without cards.
const ONE: &str = "
    assumed_spot_share = 0.3
    gpu = []
    [[source]]
    name = \"list\"
    date = \"2026-01-19\"
    text = \"a list\"
    [[processor]]
    name = \"some CPU\"
    vcpus = 96
    cores = 96
    clock_ghz = 3.1
    bandwidth_gb_per_s = 460.8
    int8_ops_per_cycle = 128
    fp16_flops_per_cycle = 32
    source = \"a sheet\"
    [[instance]]
    name = \"one\"
    vcpus = 32
    memory_gib = 64
    gpus = 0
    processor = \"some CPU\"
    on_demand_usd_per_hour = 1.5
    price_source = \"list\"
    spot_usd_per_hour = 0.5
    spot_is_assumed = false
    spot_source = \"list\"
";

#[test]
fn a_catalogue_without_the_reference_designs_type_has_plans_and_charts() {
    let data = Data { catalogue: Catalogue::parse("one.toml", ONE).unwrap(), ..Data::new() };
    let request = Request::new(Load::reference(1000));
    let report = Report::new(request.clone(), &[], &data.inputs()).unwrap();
    assert_eq!((report.reference.as_ref(), report.fleet.groups[0].instance.as_str()), (None, "one"));
    let chart = Chart::new(&request, &data.inputs()).unwrap();
    assert!(chart.references.is_empty() && !chart.points.is_empty());
    // What sets the reference design beside the plan cannot do without.
    let error = reference_cases(&request, &data.inputs()).unwrap_err().to_string();
    assert!(error.contains("there is no instance type \"g5.2xlarge\""), "{error}");
}

#[test]
fn another_load_has_no_reference() {
    let load = Load::reference(1000);
    let mut archetypes = load.archetypes.clone();
    archetypes[0].line.answer = 20.0;
    let other = Request::new(Load { archetypes, ..load });
    assert!(Report::new(other.clone(), &[], &Data::new().inputs()).unwrap().reference.is_none());
    assert!(references(&other, &Data::new().inputs()).is_empty());
}

#[test]
fn a_reference_case_without_a_plan_says_so_in_its_cell() {
    let data = Data::new();
    let only = vec!["c7i.2xlarge".to_owned()];
    let request = Request { only, replicas: 2, ..Request::new(Load::reference(1)) };
    let text =
        reference_cases(&Request { model: "llama-3.1-70b".into(), ..request }, &data.inputs()).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| 1")).collect();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert!(row.contains("| no plan: archetype vampire on llama-3.1-70b is too large"), "{row}");
        assert_eq!(row.matches('|').count(), 12, "{row}");
    }
    assert!(text.contains("by construction"));
}

#[test]
fn warnings_stand_beside_the_cost() {
    let request = Request { model: "llama-3.1-8b".into(), ..Request::new(Load::reference(1000)) };
    let report = Report::new(request, &[], &Data::new().inputs()).unwrap();
    let text = plain(&report);
    let (cost, rest) = text.split_once("\nServers\n").unwrap();
    let warning = report.fleet.warnings().next().unwrap();
    assert!(cost.contains(warning) && rest.contains(warning));
    assert!(rest.contains(" engine.queue=") && rest.contains(" engine.context=1024 "));
}

#[test]
fn the_table_says_what_the_plan_says() {
    let report = report(1000, &["npcs=2000"]);
    let text = plain(&report);
    let group = &report.fleet.groups[0];
    let line = text.lines().find(|line| line.trim_start().starts_with(&group.instance)).unwrap();
    let cells: Vec<&str> = line.trim().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells[2].parse::<u64>().unwrap(), group.servers);
    assert_eq!(parsed(cells[4]), group.on_demand_usd_per_month.round());
    assert_eq!(parsed(cells[5]), group.spot_usd_per_month.round());
    for heading in
        ["Cost", "Servers", "Why each server is there", "Chains", "What one device does", "What if"]
    {
        assert!(text.lines().any(|line| line == heading), "{heading}");
    }
    assert!(text.contains(&report.fleet.servers[0].why));
    assert!(text.contains("scaled: roofline from config/measured.toml"));
}

#[test]
fn every_row_of_a_markdown_table_has_its_columns() {
    let text = markdown(&report(10_000, &["headroom=0.4"]));
    assert!(text.starts_with("# Plan\n\n## Cost\n"));
    let mut columns = 0;
    let mut rows = 0;
    for line in text.lines() {
        if line.starts_with('|') {
            let here = line.replace("\\|", "").matches('|').count();
            assert!(columns == 0 || columns == here, "{line}");
            (columns, rows) = (here, rows + 1);
        } else {
            columns = 0;
        }
    }
    assert!(rows > 20, "{rows}");
}

#[test]
fn names_are_no_markup() {
    let name = "a|b<script>&\"'\u{1b}[31m\u{202e}";
    let load = Load { archetypes: vec![ArchetypeLoad::new(name, 10)], ..Load::reference(10) };
    let data = Data::new();
    let report = Report::new(Request::new(load.clone()), &[], &data.inputs()).unwrap();
    let (table, page) = (plain(&report), markdown(&report));
    assert!(table.contains("a|b<script>") && !table.contains(['\u{1b}', '\u{202e}']));
    assert!(page.contains("a\\|b&lt;script&gt;&amp;") && !page.contains("<script"));
    let chart = Chart { title: name.to_owned(), points: Vec::new(), references: Vec::new() };
    let svg = chart.svg();
    assert!(svg.contains("a|b&lt;script&gt;&amp;&quot;&#39;[31m") && !svg.contains("<script"));
    assert_eq!(Report::parse("x", &report.json().unwrap()).unwrap().fleet.chains[0].archetype, name);
}

#[test]
fn the_chart_holds_its_numbers_and_says_them() {
    let chart = Chart::new(&Request::new(Load::reference(300)), &Data::new().inputs()).unwrap();
    assert_eq!(chart.points.iter().filter(|point| point.npcs == 300).count(), 1);
    assert_eq!(chart.points.last().unwrap().npcs, 10_000);
    let svg = chart.svg();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(
        svg.contains("role=\"img\"") && svg.contains("<title id=\"title\">") && svg.contains("<desc id=")
    );
    assert!(
        !svg.contains("<script") && !svg.contains("href") && !svg.contains("NaN") && !svg.contains("inf")
    );
    let usd: Vec<f64> = attributes(&svg, "data-usd").iter().map(|usd| usd.parse().unwrap()).collect();
    let ours = chart.points.iter().map(|point| point.on_demand_usd_per_month);
    let theirs = chart.points.iter().map(|point| point.spot_usd_per_month);
    let design = chart.references.iter().flat_map(|of| [of.on_demand_usd_per_month, of.spot_usd_per_month]);
    assert_eq!(usd, ours.chain(theirs).chain(design).collect::<Vec<_>>());
    let heights: Vec<f64> = attributes(&svg, "cy").iter().map(|y| y.parse().unwrap()).collect();
    assert!(heights.iter().all(|y| (60.0..540.0).contains(y)));
    // Every element is closed, and text is 14 or 20 pixels high.
    assert_eq!(svg.matches("<circle").count(), svg.matches("</circle>").count() + 2);
    for point in &chart.points {
        assert!(svg.contains(&format!(
            "{} NPCs: {} on demand",
            reference::number(point.npcs as f64, 0),
            reference::number(point.on_demand_usd_per_month, 0)
        )));
    }
}

proptest! {
    #[test]
    fn no_text_breaks_out_of_what_it_is_written_in(text in "\\PC*|[\\x00-\\x7f]*") {
        let xml = escape::xml(&text);
        let breaks = ['<', '>', '"', '\'', '\n', '\u{1b}'];
        prop_assert!(!xml.contains(breaks));
        let cell = escape::markdown(&text);
        let breaks = ['<', '>', '\n', '\u{1b}'];
        prop_assert!(!cell.contains(breaks));
        let bars = cell.char_indices().filter(|&(_, letter)| letter == '|');
        for (at, _) in bars {
            prop_assert!(cell[..at].ends_with('\\'));
        }
    }

    #[test]
    fn any_costs_can_be_drawn(points in prop::collection::vec((1_u64..10_000_000, 0.0..1e9_f64, 0.0..1e9_f64), 0..20)) {
        let points = points.into_iter().map(|(npcs, on_demand_usd_per_month, spot_usd_per_month)| Point { npcs, on_demand_usd_per_month, spot_usd_per_month });
        let svg = Chart { title: "any".into(), points: points.collect(), references: Vec::new() }.svg();
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
