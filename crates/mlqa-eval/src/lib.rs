#![cfg_attr(feature = "windows", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "windows"),
    doc = "Evaluation of cross-lingual extractive question answering: question files, official \
           scores, tables. With the feature `windows` also windows of token ids and decoding."
)]

mod compare;
mod error;
mod files;
mod matrix;
mod metric;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod program;
mod questions;
#[cfg(feature = "windows")]
mod windows;

pub use compare::{
    Interval, PairedTest, PublishedComparison, Resampling, RunDifference, bootstrap, compare,
    compare_runs, comparison_markdown, holm, paired_test,
};
pub use error::Error;
pub use files::{read_json, to_json_bytes, write_files};
pub use language::{Language, LanguageError, UnknownLanguage};
pub use matrix::{
    Average, Cell, FileScore, MLQA_LANGUAGES, Matrix, Metric, SetScores, SetSummary,
    TABLE_ONE_LANGUAGES, TableLanguage, set_tables, table_one,
};
pub use metric::{
    BestThreshold, BoundaryClass, BoundaryCounts, Candidate, GroupScore, LanguageScore,
    LanguageScores, MeanScore, NBest, NBestFile, Normalization, NullOdds, Predictions,
    QuestionScore, Score, ScoreIntervals, ScoredFile, Squad2Score, SquadPart, classify_boundaries,
    count_boundaries, score, score_by_language, score_files, score_squad2, top_k_exact_match,
    write_n_best,
};
pub use questions::{
    Answer, Dataset, DatasetName, FileCheck, Finding, FindingKind, InvalidAction, InvalidQuestion,
    InvalidQuestions, LanguageCounts, Question, QuestionSource, QuestionSources, TextLanguage,
    check_file, find_language_file, languages_in_name, list_dataset_names, pair_languages, squad,
};
pub use results::{AVERAGE, MeanInterval};
#[cfg(feature = "windows")]
pub use windows::{
    Compatible, Coverage, DecodeConfig, Purpose, Separator, UnanswerableWindow, Window,
    WindowConfig, WindowCounts, WindowCutter, WindowScore, WindowTokenizer, coverage, decode,
    decode_answers, decode_candidates, load_tokenizer, windows,
};
