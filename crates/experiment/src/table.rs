//! Markdown tables of means over seeds.
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter, Write};

use serde::Serialize;

/// What stands where a number is missing.
pub const MISSING: &str = "–";

/// A mean, and the standard deviation of a sample where there are two values or more.
///
/// It prints as `22.1 ± 0.4`, with one digit after the point unless the format says otherwise.
///
/// ```
/// use experiment::table::MeanSd;
///
/// let f1 = MeanSd::of([21.0, 23.0]);
/// assert_eq!(f1.to_string(), "22.0 ± 1.4");
/// assert_eq!(format!("{f1:.2}"), "22.00 ± 1.41");
/// assert_eq!(format!("{f1:+}"), "+22.0 ± 1.4");
/// assert_eq!(MeanSd::of([21.0]).to_string(), "21.0");
/// assert_eq!(MeanSd::from((20.0, None)), MeanSd::from(20.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MeanSd {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub sd: Option<f64>,
}

impl MeanSd {
    /// Of these values; of none, 0.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count.max(1.0);
        let sd = (values.len() > 1).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / (count - 1.0)).sqrt()
        });
        Self { mean, sd }
    }
}

impl From<(f64, Option<f64>)> for MeanSd {
    fn from((mean, sd): (f64, Option<f64>)) -> Self {
        Self { mean, sd }
    }
}

impl From<f64> for MeanSd {
    fn from(mean: f64) -> Self {
        Self { mean, sd: None }
    }
}

impl Display for MeanSd {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        match f.sign_plus() {
            true => write!(f, "{:+.digits$}", self.mean)?,
            false => write!(f, "{:.digits$}", self.mean)?,
        }
        match self.sd {
            Some(sd) => write!(f, " ± {sd:.digits$}"),
            None => Ok(()),
        }
    }
}

/// The mean of each key's values over several maps, such as those of several seeds.
///
/// ```
/// use std::collections::BTreeMap;
///
/// let of_seeds = [BTreeMap::from([("de".to_owned(), 20.0)]), [("de".to_owned(), 30.0)].into()];
/// assert_eq!(experiment::table::means(&of_seeds)["de"], 25.0);
/// ```
pub fn means<'a, K: Clone + Ord + 'a>(
    maps: impl IntoIterator<Item = &'a BTreeMap<K, f64>>,
) -> BTreeMap<K, f64> {
    let mut values: BTreeMap<K, Vec<f64>> = BTreeMap::new();
    for (key, value) in maps.into_iter().flatten() {
        values.entry(key.clone()).or_default().push(*value);
    }
    values.into_iter().map(|(key, values)| (key, MeanSd::of(values).mean)).collect()
}

/// The text of a cell: a number, or [`MISSING`].
///
/// ```
/// use experiment::table::cell;
///
/// assert_eq!(cell(Some((22.04, Some(0.36)))), "22.0 ± 0.4");
/// assert_eq!(cell(None::<f64>), "–");
/// ```
pub fn cell(value: Option<impl Into<MeanSd>>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.into().to_string())
}

/// A Markdown table: a column of titles and right-aligned columns of numbers.
///
/// ```
/// use experiment::table::{Table, cell};
///
/// let mut table = Table::new("F1", ["en", "de"]);
/// table.row("base", [cell(Some(22.0)), cell(None::<f64>)]);
/// table.row("injected", [cell(Some((25.0, Some(0.5))))]);
/// assert_eq!(
///     table.to_string(),
///     "| F1 | en | de |\n|---|---:|---:|\n| base | 22.0 | – |\n| injected | 25.0 ± 0.5 | – |\n"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    /// A table without rows; `title` stands over the column of titles.
    pub fn new(
        title: impl Into<String>,
        columns: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        Self { title: title.into(), columns, rows: Vec::new() }
    }

    /// Adds a row; a short one ends with [`MISSING`].
    pub fn row(
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
        line(f, &self.title, &self.columns)?;
        f.write_str("|---|")?;
        for _ in &self.columns {
            f.write_str("---:|")?;
        }
        f.write_char('\n')?;
        self.rows.iter().try_for_each(|(title, cells)| line(f, title, cells))
    }
}

fn line(f: &mut Formatter<'_>, title: &str, cells: &[String]) -> fmt::Result {
    f.write_char('|')?;
    for text in std::iter::once(title).chain(cells.iter().map(String::as_str)) {
        write!(f, " {} |", text.replace('|', "\\|").replace('\n', " "))?;
    }
    f.write_char('\n')
}

/// The Markdown up to its second table or the heading after the first, with what is said about the
/// first.
pub(crate) fn first_table(markdown: &str) -> &str {
    let (mut end, mut begun, mut ended) = (0, false, false);
    for line in markdown.split_inclusive('\n') {
        let is_row = line.starts_with('|');
        ended |= begun && !is_row;
        begun |= is_row;
        if ended && (is_row || line.starts_with('#')) {
            return markdown.get(..end).unwrap_or(markdown);
        }
        end += line.len();
    }
    markdown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_a_sample() {
        assert_eq!(MeanSd::of([1.0, 3.0]), MeanSd { mean: 2.0, sd: Some(2f64.sqrt()) });
        assert_eq!(MeanSd::of([5.0]), MeanSd { mean: 5.0, sd: None });
        assert_eq!(MeanSd::of([]), MeanSd { mean: 0.0, sd: None });
    }

    #[test]
    fn the_first_table_has_its_heading_and_its_notes() {
        let first = "# F1\n\n| a |\n|---|\n| 1 |\n\nOf nine.\n\n";
        for more in ["| b |\n|---|\n", "## EM\n\n| b |\n|---|\n"] {
            assert_eq!(first_table(&format!("{first}{more}")), first);
        }
        assert_eq!(first_table(first), first);
        assert_eq!(first_table("nothing\n"), "nothing\n");
    }

    #[test]
    fn a_title_cannot_break_the_table() {
        let mut table = Table::new("a|b", ["x"]);
        table.row("two\nlines", ["1"]);
        assert_eq!(table.to_string(), "| a\\|b | x |\n|---|---:|\n| two lines | 1 |\n");
    }
}
