#![doc = include_str!("../README.md")]

mod checked;
mod error;
mod lines;
mod read;
mod write;

pub mod markers;
pub mod mix;
pub mod parallel;
pub mod project;
pub mod provider;
pub mod search;
pub mod translate;

pub use error::TranslateError;
pub use markers::{Marked, MarkerFault, Recovered, mark, recover};
pub use mix::{MixConfig, MixReport, Mixed, MixedRow, Pairs, mix};
pub use parallel::parallel;
pub use project::{Links, ProjectConfig, project};
pub use provider::{Cached, FileTranslator, HttpConfig, HttpTranslator, Identity, Translator};
pub use read::{MixedTraining, read_and_mix, read_translations};
pub use search::{Occurrence, SearchConfig, SearchFault, search};
pub use translate::{Discarded, Stage, TranslateConfig, TranslateReport, Translated, translate};
