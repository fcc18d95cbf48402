//! The result tables of the four papers that this workspace reproduces, as data.
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// One published number.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Published {
    /// Paper and table, such as `000-1`: 000 is "Bridging the Language Gap" (its Table I), 001
    /// XLM-K, 002 mixMRC and LAKM, 003 "From Good to Best"; `A` marks a table of the appendix.
    pub table: String,
    /// Model or method of the row; `data` for statistics.
    pub model: String,
    /// Data set and training condition.
    pub setting: String,
    /// Language code; `avg` for the average as printed, which can differ from the mean of the row.
    pub language: String,
    /// `f1`, `em`, `em@k`, `accuracy`, `p@1`, or the name of a count. Scores are in percent.
    pub metric: String,
    /// The number as printed. A printed `k` is expanded: `20k` is 20000.
    pub value: f64,
    /// Standard deviation or a remark on the number; often empty.
    #[serde(default)]
    pub note: String,
}

/// The CSV file with the numbers of [`published_results`].
pub const PUBLISHED_CSV: &str = include_str!("../data/published.csv");

/// Returns all numbers, in the order of papers and tables.
pub fn published_results() -> &'static [Published] {
    static ROWS: OnceLock<Vec<Published>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let rows = csv::Reader::from_reader(PUBLISHED_CSV.as_bytes()).into_deserialize();
        rows.collect::<Result<_, _>>().expect("published.csv is valid")
    })
}

/// Returns the ids of all tables, in order.
pub fn table_ids() -> Vec<&'static str> {
    let mut ids: Vec<&str> = published_results().iter().map(|row| row.table.as_str()).collect();
    ids.dedup();
    ids
}

/// Returns the published numbers that match every argument that is not `None`. `model` is a part of
/// the model's name. Upper and lower case are not distinguished in `model` and `language`.
///
/// ```
/// let rows = results::select_published(Some("001-1"), Some("xlm-k (avg)"), Some("zh"));
/// assert_eq!(rows.iter().map(|row| row.value).collect::<Vec<_>>(), [63.1, 38.8]); // F1, EM
/// ```
pub fn select_published(
    table: Option<&str>,
    model: Option<&str>,
    language: Option<&str>,
) -> Vec<&'static Published> {
    let model = model.map(str::to_lowercase);
    published_results()
        .iter()
        .filter(|row| table.is_none_or(|table| row.table == table))
        .filter(|row| model.as_ref().is_none_or(|part| row.model.to_lowercase().contains(part)))
        .filter(|row| language.is_none_or(|code| row.language.eq_ignore_ascii_case(code)))
        .collect()
}
