//! Open information extraction: files of extractions, and CaRB's scores.
mod matching;
mod read;
mod score;
mod tags;
#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests;

pub use read::{OieExtraction, OieSentence, read_oie, read_oie_gold, write_oie};
pub use score::{OieCurvePoint, OieScore, score_oie};
pub use tags::{
    ARGUMENTS, MarkedPredicate, PREDICATE, TaggedArguments, TaggedPredicates, argument_tags,
    check_marks, extraction_confidence, extractions_of_tags, marked_predicates, predicate_tags,
};
