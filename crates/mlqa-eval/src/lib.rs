#![cfg_attr(feature = "windows", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "windows"),
    doc = "Evaluation of cross-lingual extractive question answering: question files, official \
           scores, tables. With the feature `windows` also windows of token ids and decoding."
)]

mod answer_types;
mod boundary;
mod by_language;
mod check;
mod compare;
mod dataset;
mod dataset_name;
mod error;
mod evidence;
mod files;
mod html;
mod language_guess;
mod languages;
mod matrix;
mod metric;
mod n_best;
mod normalize;
mod predictions;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod program;
mod question_sources;
mod report;
mod rows;
mod runs;
mod score_files;
mod set_summary;
mod set_tables;
pub mod squad;
mod squad2;
mod token_buffer;
mod top_k;
mod unicode;
#[cfg(feature = "windows")]
mod windows;

pub use answer_types::{
    AnswerTypes, MIN_TYPE_QUESTIONS, TypeScore, TypedDataset, answer_types, exact_match_by_type,
};
pub use boundary::{
    BoundaryClass, BoundaryCounts, boundaries, boundary_class, boundary_classes, boundary_table,
};
pub use by_language::{LanguageScore, LanguageScores, MeanScore, score_by_language};
pub use check::{FileCheck, Finding, FindingKind, check_file};
pub use compare::{Compared, compare, compared_markdown};
pub use dataset::{Answer, Dataset, Question, pair};
pub use dataset_name::{DatasetName, dataset_names, language_file};
pub use error::Error;
pub use evidence::{Interval, PairedTest, Resampling, bootstrap, holm, paired_test};
pub use files::{json_bytes, read_json, write_together};
pub use language::{Language, LanguageError};
pub use language_guess::TextSample;
pub use languages::{MLQA_LANGUAGES, TableOrder};
pub use matrix::{Average, Cell, Matrix};
pub use metric::{QuestionScore, Score, ScoreIntervals, score};
pub use n_best::{Candidate, NBest, NBestFile, write_n_best};
pub use normalize::Normalization;
pub use predictions::Predictions;
pub use question_sources::{QuestionSource, QuestionSources};
pub use report::{Metric, TABLE_ONE_LANGUAGES, table_one};
pub use results::{AVERAGE, Spread};
pub use runs::{RunDifference, compare_runs};
pub use score_files::{ScoredFile, score_files};
pub use set_summary::{FileScore, SetScores, SetSummary};
pub use set_tables::set_tables;
pub use squad2::{BestThreshold, NullOdds, Squad2Score, SquadPart, score_squad2};
pub use top_k::{TopKUnique, top_k_exact_match};
#[cfg(feature = "windows")]
pub use windows::{
    Compatible, Coverage, CoverageConfig, DecodeConfig, Purpose, Separator, UnanswerableWindow,
    Window, WindowConfig, WindowCounts, WindowCutter, WindowScore, WindowTokenizer, coverage,
    decode, decode_answers, load_tokenizer, windows,
};
