//! Scores by language of context and question, and tables of several runs.
mod cells;
mod languages;
mod markdown;
mod set_summary;
mod set_tables;

pub use cells::{Average, Cell, Matrix};
pub use languages::{MLQA_LANGUAGES, TableLanguage};
pub use markdown::{Metric, TABLE_ONE_LANGUAGES, table_one};
pub use set_summary::{FileScore, SetScores, SetSummary};
pub use set_tables::set_tables;
