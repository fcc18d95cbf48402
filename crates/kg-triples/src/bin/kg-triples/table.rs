//! Printing of tables with aligned columns.
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write;

use cli::TextOutput;
use kg_triples::Language;

/// A table of text. The first column is left-aligned, all other columns are right-aligned.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Adds a row.
    pub fn add_row<C: Display>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(|cell| cell.to_string()).collect());
    }

    /// Adds a row with a name and a count.
    pub fn add_count(&mut self, name: impl Display, count: usize) {
        self.add_row([name.to_string(), count.to_string()]);
    }

    /// Prints the table. A closed pipe is not an error.
    pub fn print(&self, output: TextOutput) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            // Rows can be shorter than the header.
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().expect("a row has the column")
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = output.writer();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    line.push_str(&format!("{cell:<width$}"));
                } else {
                    line.push_str(&format!("  {cell:>width$}"));
                }
            }
            if writeln!(out, "{}", line.trim_end()).is_err() {
                return;
            }
        }
    }
}

/// Prints the number of texts and the number of mentions of each language.
pub fn print_texts(counts: &BTreeMap<Language, (usize, usize)>, output: TextOutput) {
    let mut table = Table::default();
    table.add_row(["language", "texts", "mentions"]);
    for (language, (texts, mentions)) in counts {
        table.add_row([language.to_string(), texts.to_string(), mentions.to_string()]);
    }
    table.print(output);
}

/// Prints an empty line. A closed pipe is not an error.
pub fn blank_line(output: TextOutput) {
    let _ = writeln!(output.writer());
}
