//! Compatibility modes that reproduce another program's windows and decoding.
use serde::{Deserialize, Serialize};

/// A program whose windows and decoding are reproduced exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compatible {
    /// `run_qa.py` and `utils_qa.py` of transformers' examples
    /// (`examples/pytorch/question-answering`), with tokenizers that pad on the right.
    ///
    /// Differences from the default in [`windows`](crate::windows()) and
    /// [`decode`](crate::decode()):
    ///
    /// | | default | `run_qa` |
    /// |---|---|---|
    /// | questions | truncated to `max_question_length` | not truncated; leading white space is removed |
    /// | offsets | without white space, composed marks belong to their letter | as returned by the tokenizer |
    /// | valid starts | tokens with their maximum context in the window | all context tokens |
    /// | `n_best` starts and ends | from the context | from the whole row, including question, special tokens and padding |
    /// | answer texts | distinct, trimmed, not empty | one per span, with duplicates |
    /// | equal logits | the earlier first | the later first |
    /// | no valid span | no candidate | one candidate with the text `empty` |
    ///
    /// Logits of padding are decoded as well, so rows should have the padded length of `run_qa`.
    /// `run_qa` sorts with numpy, which does not define the order of equal logits; this crate uses
    /// a stable sort. Probabilities are computed in float64 (float32 in `run_qa`).
    ///
    /// This mode does not apply to training windows.
    RunQa,
}
