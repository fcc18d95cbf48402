//! Coverage and precision of entity names in many languages, as in WikiKGE-10 (Conia et al. 2023).
mod normalize;
mod printed;
mod read;
mod score;

pub use normalize::normalize_name;
pub use printed::{PrintedScores, check_printed};
pub use read::{GoldNames, NameConfig, PredictedNames, read_gold, read_predicted};
pub use score::{CoverageScore, PrecisionScore, score_coverage, score_precision};
