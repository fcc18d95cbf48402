//! Tables in Markdown.
use std::fmt::{self, Display, Formatter, Write};

/// The text of a cell without a value.
pub const MISSING: &str = "–";

/// Formats a cell: the displayed value, or [`MISSING`].
///
/// ```
/// use results::{MeanInterval, cell};
///
/// assert_eq!(cell(Some(MeanInterval { mean: 22.04, half_width: Some(0.36) })), "22.0 ± 0.4");
/// assert_eq!(cell(None::<MeanInterval>), "–");
/// ```
pub fn cell(value: Option<impl Display>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

/// A Markdown table: a column of titles and right-aligned columns of numbers.
///
/// ```
/// use results::{MeanInterval, Table, cell};
///
/// let mut table = Table::new("F1", ["en", "de"]);
/// table.add_row("base", [cell(Some(MeanInterval::of([22.0]))), cell(None::<MeanInterval>)]);
/// table.add_row("injected", [cell(Some(MeanInterval { mean: 25.0, half_width: Some(0.5) }))]);
/// assert_eq!(
///     table.to_string(),
///     "| F1 | en | de |\n|---|---:|---:|\n| base | 22.0 | – |\n| injected | 25.0 ± 0.5 | – |\n"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    corner: String,
    columns: Vec<String>,
    /// Names of the columns that contain text and are left-aligned.
    text_columns: Vec<&'static str>,
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    /// Creates a table without rows; `corner` is the header of the title column.
    pub fn new(
        corner: impl Into<String>,
        columns: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        Self { corner: corner.into(), columns, text_columns: Vec::new(), rows: Vec::new() }
    }

    /// Sets the columns that contain text. They are left-aligned, like the column of row titles.
    #[must_use]
    pub fn with_text_columns(self, columns: &[&'static str]) -> Self {
        Self { text_columns: columns.to_vec(), ..self }
    }

    /// Adds a row; missing cells are filled with [`MISSING`].
    pub fn add_row(
        &mut self,
        title: impl Into<String>,
        cells: impl IntoIterator<Item = impl Into<String>>,
    ) -> &mut Self {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        cells.resize(self.columns.len().max(cells.len()), MISSING.to_owned());
        self.rows.push((title.into(), cells));
        self
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_line(f, &self.corner, &self.columns)?;
        f.write_str("|---|")?;
        for column in &self.columns {
            let is_text = self.text_columns.contains(&column.as_str());
            f.write_str(if is_text { "---|" } else { "---:|" })?;
        }
        f.write_char('\n')?;
        self.rows.iter().try_for_each(|(title, cells)| write_line(f, title, cells))
    }
}

fn write_line(f: &mut Formatter<'_>, title: &str, cells: &[String]) -> fmt::Result {
    f.write_char('|')?;
    for text in std::iter::once(title).chain(cells.iter().map(String::as_str)) {
        match text {
            "" => f.write_str(" |")?,
            text => write!(f, " {} |", text.replace('|', "\\|").replace('\n', " "))?,
        }
    }
    f.write_char('\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_and_line_breaks_in_titles_are_escaped() {
        let mut table = Table::new("a|b", ["x"]);
        table.add_row("two\nlines", ["1"]);
        assert_eq!(table.to_string(), "| a\\|b | x |\n|---|---:|\n| two lines | 1 |\n");
    }

    #[test]
    fn text_columns_are_left_aligned() {
        let mut table = Table::new("", ["run", "F1"]).with_text_columns(&["run"]);
        table.add_row("en", ["a", "1"]);
        assert_eq!(table.to_string(), "| | run | F1 |\n|---|---|---:|\n| en | a | 1 |\n");
    }
}
