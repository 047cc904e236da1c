//! The tables as Markdown.

use std::fmt::Write;

use super::Report;
use super::escape;
use super::sections::sections;

/// A heading of the second level for each section.
pub fn markdown(report: &Report) -> String {
    let mut out = String::from("# Plan\n");
    for section in sections(report) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "\n## {}", section.title);
        for line in &section.lines {
            let _ = writeln!(out, "\n{}", escape::markdown(line));
        }
        if section.rows.is_empty() {
            continue;
        }
        let row = |cells: &mut dyn Iterator<Item = String>| {
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        out.push('\n');
        out += &row(&mut section.head.iter().map(|cell| escape::markdown(cell)));
        out += &row(&mut section.head.iter().map(|_| "---".to_owned()));
        for cells in &section.rows {
            out += &row(&mut cells.iter().map(|cell| escape::markdown(cell)));
        }
    }
    out
}
