//! A table with output as HTML, Markdown, CSV and JSON.
use std::path::Path;

use serde_json::{Map, Value as Json};

use crate::text::{escape, escape_markdown};

/// The content of a cell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Count(usize),
    /// A number, shown with two decimals.
    Number(f64),
    /// A number, shown with two decimals and a sign.
    Signed(f64),
    /// A p-value, shown with four decimals.
    P(f64),
    Missing,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Option<f64>> for Value {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Missing, Self::Number)
    }
}

impl Value {
    /// Formats the value for display; text is unchanged.
    fn display(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Number(number) => format!("{number:.2}"),
            // Values that round to zero have no sign.
            Self::Signed(number) if number.abs() < 0.005 => "0.00".into(),
            Self::Signed(number) => format!("{number:+.2}"),
            Self::P(p) => format!("{p:.4}"),
            Self::Missing => "–".into(),
        }
    }

    /// Formats the value with full precision.
    fn full_precision(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Number(number) | Self::Signed(number) | Self::P(number) => number.to_string(),
            Self::Missing => String::new(),
        }
    }

    fn json(&self) -> Json {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Count(count) => (*count).into(),
            Self::Number(number) | Self::Signed(number) | Self::P(number) => (*number).into(),
            Self::Missing => Json::Null,
        }
    }
}

/// A table of a report.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    /// Part of the file name; unique in a report.
    pub name: String,
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
    /// An explanatory note; may be empty.
    pub note: String,
}

impl Table {
    /// Creates a table without rows; `columns` are separated by commas.
    pub fn new(name: impl Into<String>, title: impl Into<String>, columns: &str) -> Self {
        let columns = columns.split(", ").map(str::to_owned).collect();
        Self { name: name.into(), title: title.into(), columns, rows: vec![], note: String::new() }
    }

    /// Removes columns without values.
    pub fn without_empty_columns(mut self) -> Self {
        let has_value = |at: usize| self.rows.iter().any(|row| row[at] != Value::Missing);
        let nonempty: Vec<bool> = (0..self.columns.len()).map(has_value).collect();
        let indexed = self.columns.into_iter().enumerate();
        self.columns = indexed.filter(|(at, _)| nonempty[*at]).map(|(_, name)| name).collect();
        for row in &mut self.rows {
            let cells = std::mem::take(row).into_iter().enumerate();
            *row = cells.filter(|(at, _)| nonempty[*at]).map(|(_, cell)| cell).collect();
        }
        self
    }

    /// Returns whether a column has values and all its values are text.
    fn is_text(&self, column: usize) -> bool {
        let cells = self.rows.iter().map(|row| &row[column]);
        let mut values = cells.filter(|cell| **cell != Value::Missing).peekable();
        values.peek().is_some() && values.all(|cell| matches!(cell, Value::Text(_)))
    }

    /// Returns the table as an HTML element; empty if there are no rows.
    pub fn html(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let text_columns: Vec<bool> = (0..self.columns.len()).map(|at| self.is_text(at)).collect();
        let is_text = |at: usize| text_columns[at];
        let column = |(at, column): (usize, &String)| {
            let class = if is_text(at) { " class=\"text\"" } else { "" };
            format!("<th scope=\"col\"{class}>{}</th>", escape(column))
        };
        let cell = |(at, cell): (usize, &Value)| {
            let cell_text = escape(&cell.display());
            match (at, cell) {
                (0, _) => format!("<th scope=\"row\"><bdi>{cell_text}</bdi></th>"),
                (_, Value::Text(_)) => format!("<td class=\"text\"><bdi>{cell_text}</bdi></td>"),
                _ if is_text(at) => format!("<td class=\"text\">{cell_text}</td>"),
                _ => format!("<td>{cell_text}</td>"),
            }
        };
        let row = |row: &Vec<Value>| {
            let cells: String = row.iter().enumerate().map(cell).collect();
            format!("<tr>{cells}</tr>\n")
        };
        let columns: String = self.columns.iter().enumerate().map(column).collect();
        let rows: String = self.rows.iter().map(row).collect();
        let note = match self.note.as_str() {
            "" => String::new(),
            note => format!("<p class=\"note\">{}</p>\n", escape(note)),
        };
        format!(
            "<div class=\"wide\"><table>\n<thead><tr>{columns}</tr></thead>\n<tbody>\n{rows}\
             </tbody>\n</table></div>\n{note}"
        )
    }

    pub fn markdown(&self) -> String {
        let cell = |text: &str| format!(" {} |", escape_markdown(text));
        let row = |row: &Vec<Value>| {
            let cells: String = row.iter().map(|value| cell(&value.display())).collect();
            format!("|{cells}\n")
        };
        let columns: String = self.columns.iter().map(|column| cell(column)).collect();
        let align = |at: usize| if self.is_text(at) { "---|" } else { "---:|" };
        let alignments: String = (0..self.columns.len()).map(align).collect();
        let rows: String = self.rows.iter().map(row).collect();
        let note = match self.note.as_str() {
            "" => String::new(),
            note => format!("\n{}\n", escape_markdown(note)),
        };
        format!("## {}\n\n|{columns}\n|{alignments}\n{rows}{note}", escape_markdown(&self.title))
    }

    /// Returns CSV with numbers in full precision; missing values are empty. `path` is used in
    /// errors only.
    pub fn csv(&self, path: &Path) -> Result<Vec<u8>, mlqa_eval::Error> {
        let write_error = atomic_file::Error::new(path, "write");
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.columns).map_err(|error| write_error(error.into()))?;
        for row in &self.rows {
            let cells = row.iter().map(Value::full_precision);
            writer.write_record(cells).map_err(|error| write_error(error.into()))?;
        }
        Ok(writer.into_inner().map_err(|error| write_error(error.into_error()))?)
    }

    /// Returns an object with title, note and rows; each row is an object with column names as
    /// keys.
    pub fn json(&self) -> Json {
        let row = |row: &Vec<Value>| -> Json {
            assert_eq!(row.len(), self.columns.len(), "a row has one cell per column");
            let cells = self.columns.iter().cloned().zip(row.iter().map(Value::json));
            Json::Object(cells.collect::<Map<_, _>>())
        };
        let rows: Vec<Json> = self.rows.iter().map(row).collect();
        serde_json::json!({ "title": self.title, "note": self.note, "rows": rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("t", "A <b> | c", "run, F1, difference, empty");
        table.rows = vec![
            vec!["a|b\n<i>".into(), Value::Number(12.345), Value::Signed(-0.001), Value::Missing],
            vec!["c".into(), Value::Missing, Value::Signed(1.0), Value::Missing],
        ];
        table.without_empty_columns()
    }

    #[test]
    fn all_formats_have_the_same_values() {
        let markdown = "## A &lt;b> \\| c\n\n| run | F1 | difference |\n|---|---:|---:|\n\
                        | a\\|b &lt;i> | 12.35 | 0.00 |\n| c | – | +1.00 |\n";
        assert_eq!(table().markdown(), markdown);
        let csv = table().csv(Path::new("t.csv")).unwrap();
        let csv = String::from_utf8(csv).unwrap();
        assert_eq!(csv, "run,F1,difference\n\"a|b\n<i>\",12.345,-0.001\nc,,1\n");
        let json = table().json();
        assert_eq!(json["rows"][0]["F1"], 12.345);
        assert_eq!(json["rows"][1]["F1"], Json::Null);
        let html = table().html();
        assert!(
            html.contains("<th scope=\"row\"><bdi>a|b &lt;i&gt;</bdi></th><td>12.35</td>"),
            "{html}"
        );
    }
}
