//! Axes, lines, points and the legend of the chart.

use std::fmt::Write;

use super::super::super::reference::number;
use super::super::escape::xml;
use super::{Chart, Reference};

/// Of the picture, and of the frame in it.
pub(super) const SIZE: (f64, f64) = (880.0, 560.0);
pub(super) const FRAME: (f64, f64, f64, f64) = (100.0, 70.0, 850.0, 440.0);

/// Colours that are told apart with any colour vision, dark enough on white.
pub(super) const ON_DEMAND: &str = "#0060a8";
pub(super) const SPOT: &str = "#b04a00";
const DESIGN: &str = "#444444";

/// Powers of ten at the ends of the axes.
pub(super) struct Axes {
    npcs: (i32, i32),
    usd: (i32, i32),
}

impl Axes {
    pub fn of(chart: &Chart) -> Self {
        let ends = |values: &mut dyn Iterator<Item = f64>| {
            let logs = values.filter(|&value| value > 0.0).map(f64::log10);
            let (low, high) =
                logs.fold((f64::MAX, f64::MIN), |(low, high), log| (low.min(log), high.max(log)));
            if low > high {
                return (0, 1);
            }
            let low = low.floor() as i32;
            (low, (high.ceil() as i32).max(low + 1))
        };
        let points = || chart.points.iter();
        let references = || chart.references.iter();
        let npcs = points().map(|point| point.npcs).chain(references().map(|reference| reference.npcs));
        let ours = points().flat_map(|point| [point.on_demand_usd_per_month, point.spot_usd_per_month]);
        let theirs = references().flat_map(|of| [of.on_demand_usd_per_month, of.spot_usd_per_month]);
        Self { npcs: ends(&mut npcs.map(|npcs| npcs as f64)), usd: ends(&mut ours.chain(theirs)) }
    }

    fn x(&self, npcs: f64) -> f64 {
        let share = (npcs.max(1e-9).log10() - f64::from(self.npcs.0)) / f64::from(self.npcs.1 - self.npcs.0);
        FRAME.0 + share * (FRAME.2 - FRAME.0)
    }

    fn y(&self, usd: f64) -> f64 {
        let share = (usd.max(1e-9).log10() - f64::from(self.usd.0)) / f64::from(self.usd.1 - self.usd.0);
        FRAME.3 - share * (FRAME.3 - FRAME.1)
    }

    pub fn draw(&self, out: &mut String) -> std::fmt::Result {
        let (left, top, right, bottom) = FRAME;
        for power in self.npcs.0..=self.npcs.1 {
            let (value, x) = (10_f64.powi(power), self.x(10_f64.powi(power)));
            writeln!(out, "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"#dddddd\"/>")?;
            let label = number(value, 0);
            let y = bottom + 22.0;
            writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#222222\">{label}</text>"
            )?;
        }
        for power in self.usd.0..=self.usd.1 {
            let (value, y) = (10_f64.powi(power), self.y(10_f64.powi(power)));
            writeln!(out, "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#dddddd\"/>")?;
            let (label, x, y) = (number(value, if power < 0 { 2 } else { 0 }), left - 8.0, y + 5.0);
            writeln!(
                out,
                "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\" fill=\"#222222\">{label}</text>"
            )?;
        }
        writeln!(
            out,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#666666\"/>",
            right - left,
            bottom - top
        )?;
        let middle = left.midpoint(right);
        writeln!(
            out,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"#111111\">NPCs</text>",
            bottom + 46.0
        )?;
        let middle = top.midpoint(bottom);
        writeln!(
            out,
            "<text transform=\"translate(24 {middle}) rotate(-90)\" text-anchor=\"middle\" fill=\"#111111\">dollars a month</text>"
        )
    }

    pub fn line(
        &self,
        out: &mut String,
        points: &[(u64, f64)],
        name: &str,
        colour: &str,
        dashes: &str,
    ) -> std::fmt::Result {
        let at: Vec<String> = points
            .iter()
            .map(|&(npcs, usd)| format!("{:.1},{:.1}", self.x(npcs as f64), self.y(usd)))
            .collect();
        writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"{dashes}/>",
            at.join(" ")
        )?;
        for &(npcs, usd) in points {
            writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\" data-series=\"{name}\" data-npcs=\"{npcs}\" \
                 data-usd=\"{usd}\"><title>{} NPCs {name}: {} dollars a month</title></circle>",
                self.x(npcs as f64),
                self.y(usd),
                number(npcs as f64, 0),
                number(usd, 0)
            )?;
        }
        Ok(())
    }

    /// Its two prices: diamonds, empty for spot.
    pub fn reference(&self, out: &mut String, of: &Reference) -> std::fmt::Result {
        for (name, usd, fill) in
            [("on demand", of.on_demand_usd_per_month, DESIGN), ("spot", of.spot_usd_per_month, "#ffffff")]
        {
            let (x, y) = (self.x(of.npcs as f64), self.y(usd));
            writeln!(
                out,
                "<path d=\"M{x:.1} {:.1}l7 7l-7 7l-7 -7z\" fill=\"{fill}\" stroke=\"{DESIGN}\" stroke-width=\"2\" \
                 data-series=\"reference {name}\" data-npcs=\"{}\" data-usd=\"{usd}\"><title>Reference design, {} NPCs {name}: \
                 {} {}, {} dollars a month</title></path>",
                y - 7.0,
                of.npcs,
                number(of.npcs as f64, 0),
                of.servers,
                xml(&of.instance),
                number(usd, 0)
            )?;
        }
        Ok(())
    }
}

pub(super) fn legend(out: &mut String) -> std::fmt::Result {
    let y = SIZE.1 - 34.0;
    for (x, colour, dashes, text) in
        [(100.0, ON_DEMAND, "", "on demand"), (260.0, SPOT, " stroke-dasharray=\"8 4\"", "spot")]
    {
        let (from, to) = (x, x + 34.0);
        writeln!(out, "<path d=\"M{from} {y}H{to}\" stroke=\"{colour}\" stroke-width=\"2.5\"{dashes}/>")?;
        writeln!(out, "<circle cx=\"{}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/>", x + 17.0)?;
        writeln!(out, "<text x=\"{}\" y=\"{}\" fill=\"#111111\">{text}</text>", x + 42.0, y + 5.0)?;
    }
    for (x, fill, text) in
        [(370.0, DESIGN, "reference design, on demand"), (620.0, "#ffffff", "reference design, spot")]
    {
        let top = y - 7.0;
        writeln!(
            out,
            "<path d=\"M{x} {top}l7 7l-7 7l-7 -7z\" fill=\"{fill}\" stroke=\"{DESIGN}\" stroke-width=\"2\"/>"
        )?;
        writeln!(out, "<text x=\"{}\" y=\"{}\" fill=\"#111111\">{text}</text>", x + 16.0, y + 5.0)?;
    }
    Ok(())
}
