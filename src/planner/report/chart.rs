//! A chart of cost a month against NPCs, as SVG: both axes logarithmic, the reference design's points beside.

mod draw;

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::super::fleet::{Inputs, PlanError, Request, plan};
use super::super::packing::Market;
use super::super::reference::number;
use super::super::what_if::changed;
use super::escape::xml;
use super::{Reference, references};
use draw::{Axes, FRAME, ON_DEMAND, SIZE, SPOT, legend};

/// The curve goes from here at least to there.
const FEWEST: u64 = 10;
const MOST: u64 = 10_000;

/// What so many NPCs cost: on demand of the plan that is cheapest on demand, on spot of the one that is cheapest there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub npcs: u64,
    pub on_demand_usd_per_month: f64,
    pub spot_usd_per_month: f64,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Such as the base model's name.
    pub title: String,
    /// With ascending NPCs.
    pub points: Vec<Point>,
    pub references: Vec<Reference>,
}

impl Chart {
    /// Plans for 10, 20, 50, 100 and so on, to 10,000 and as many as were asked for. Numbers of NPCs for which there is no
    /// plan are left out.
    ///
    /// # Errors
    /// There is no plan for any of them.
    pub fn new(request: &Request, inputs: &Inputs<'_>) -> Result<Self, PlanError> {
        // What the simulation says is not drawn.
        let inputs = Inputs { simulate: None, ..*inputs };
        let asked = request.load.npcs();
        let decades = (1..8).map(|power| 10_u64.pow(power));
        let steps = decades.flat_map(|decade| [decade, 2 * decade, 5 * decade]);
        let mut counts: Vec<u64> =
            steps.filter(|&npcs| npcs >= FEWEST && npcs <= MOST.max(asked)).chain([asked.max(1)]).collect();
        counts.sort_unstable();
        counts.dedup();
        let (mut points, mut problem) = (Vec::with_capacity(counts.len()), None);
        for npcs in counts {
            match point(request, npcs, &inputs) {
                Ok(point) => points.push(point),
                Err(error) => problem = Some(error),
            }
        }
        match problem {
            Some(problem) if points.is_empty() => Err(problem),
            _ => Ok(Self { title: request.model.clone(), points, references: references(request, &inputs) }),
        }
    }

    /// The picture: text, without scripts and without anything from elsewhere.
    pub fn svg(&self) -> String {
        let mut out = String::new();
        let axes = Axes::of(self);
        // Writing to a string cannot fail.
        let _ = self.begin(&mut out);
        let _ = axes.draw(&mut out);
        let of = |usd: fn(&Point) -> f64| self.points.iter().map(move |point| (point.npcs, usd(point)));
        let on_demand: Vec<_> = of(|point| point.on_demand_usd_per_month).collect();
        let spot: Vec<_> = of(|point| point.spot_usd_per_month).collect();
        let _ = axes.line(&mut out, &on_demand, "on demand", ON_DEMAND, "");
        let _ = axes.line(&mut out, &spot, "spot", SPOT, " stroke-dasharray=\"8 4\"");
        for reference in &self.references {
            let _ = axes.reference(&mut out, reference);
        }
        let _ = legend(&mut out);
        out.push_str("</svg>\n");
        out
    }

    fn begin(&self, out: &mut String) -> std::fmt::Result {
        let (width, height) = SIZE;
        let title = format!("What NPCs on {} cost a month", xml(&self.title));
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-labelledby=\"title description\" font-family=\"system-ui, sans-serif\" font-size=\"14\">"
        )?;
        writeln!(out, "<title id=\"title\">{title}</title>")?;
        write!(
            out,
            "<desc id=\"description\">Dollars a month against the number of NPCs, both axes logarithmic."
        )?;
        for point in &self.points {
            write!(
                out,
                " {} NPCs: {} on demand, {} on spot.",
                number(point.npcs as f64, 0),
                number(point.on_demand_usd_per_month, 0),
                number(point.spot_usd_per_month, 0)
            )?;
        }
        for reference in &self.references {
            write!(
                out,
                " The reference design, {} NPCs: {} on demand, {} on spot.",
                number(reference.npcs as f64, 0),
                number(reference.on_demand_usd_per_month, 0),
                number(reference.spot_usd_per_month, 0)
            )?;
        }
        writeln!(out, "</desc>")?;
        writeln!(out, "<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>")?;
        writeln!(out, "<text x=\"{}\" y=\"36\" font-size=\"20\" fill=\"#111111\">{title}</text>", FRAME.0)
    }
}

fn point(request: &Request, npcs: u64, inputs: &Inputs<'_>) -> Result<Point, PlanError> {
    let request = changed(request, &[format!("npcs={npcs}")])?;
    let cost = |market| plan(&Request { market, ..request.clone() }, inputs).map(|fleet| fleet.cost);
    Ok(Point {
        npcs,
        on_demand_usd_per_month: cost(Market::OnDemand)?.on_demand_usd_per_month,
        spot_usd_per_month: cost(Market::Spot)?.spot_usd_per_month,
    })
}
