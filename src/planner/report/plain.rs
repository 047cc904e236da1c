//! The tables for a terminal.

use super::Report;
use super::escape::printable;
use super::sections::{Section, sections};

/// A last column that is longer goes on lines of its own.
const WIDEST: usize = 60;

/// As many columns as matter, aligned.
pub fn plain(report: &Report) -> String {
    let mut out = String::new();
    for section in sections(report) {
        out += section.title;
        out.push('\n');
        for line in &section.lines {
            out += &printable(line);
            out.push('\n');
        }
        table(&section, &mut out);
        out.push('\n');
    }
    out
}

fn table(section: &Section, out: &mut String) {
    if section.rows.is_empty() {
        return;
    }
    let head: Vec<String> = section.head.iter().map(|&cell| cell.to_owned()).collect();
    let rows: Vec<Vec<String>> =
        section.rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(&rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let apart = widths.last().is_some_and(|&width| width > WIDEST);
    for row in std::iter::once(&head).chain(&rows) {
        let aligned = if apart { &row[..row.len().saturating_sub(1)] } else { &row[..] };
        let cells = aligned.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        out.push_str("  ");
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
        if let Some(last) = row.last().filter(|last| apart && !last.is_empty()) {
            out.push_str("      ");
            out.push_str(last);
            out.push('\n');
        }
    }
}
