//! Counts of the replies that a translator cleaned or rejected.
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::file::MissingText;

/// A part of a language model's reply that is not the translation and was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RemovedPart {
    /// A reasoning block, such as `<think>…</think>`.
    Reasoning,
    /// A token of a chat template, such as `<|im_end|>`.
    TemplateToken,
    /// Tags, a code fence or JSON around the translation.
    Wrapper,
    /// An introduction, such as "Here is the translation:".
    Introduction,
    /// A note after the translation.
    Note,
    /// Quotation marks around the translation.
    QuotationMarks,
}

impl Display for RemovedPart {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reasoning => "reasoning",
            Self::TemplateToken => "template token",
            Self::Wrapper => "wrapper",
            Self::Introduction => "introduction",
            Self::Note => "note",
            Self::QuotationMarks => "quotation marks",
        })
    }
}

/// Reason why a text has no translation although the server replied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rejection {
    /// The reply has no text, for example `"content": null`.
    NoText,
    /// The reply is blank, or blank after other parts were removed.
    Blank,
    /// The model stopped at its length limit.
    Truncated,
    /// A content filter stopped the model.
    Filtered,
    /// The model refused to translate the text, or replied with a statement about the task.
    Refused,
    /// The reply has reasoning without an end.
    UnfinishedReasoning,
    /// The reply has more lines than the text, for example several translations.
    ExtraLines,
    /// The reply has an unknown finish reason.
    UnknownFinishReason,
    /// The server does not accept the text (status 400, 413, 422 or 451, or repeatedly 500).
    Status,
    /// A placeholder of [`Protected`](crate::Protected) is missing, changed or repeated.
    Placeholder,
}

impl Display for Rejection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoText => "reply without text",
            Self::Blank => "blank reply",
            Self::Truncated => "reply truncated at the length limit",
            Self::Filtered => "content filter",
            Self::Refused => "refusal",
            Self::UnfinishedReasoning => "unfinished reasoning",
            Self::ExtraLines => "reply with more lines than the text",
            Self::UnknownFinishReason => "unknown finish reason",
            Self::Status => "text rejected by the server",
            Self::Placeholder => "placeholder missing, changed or repeated",
        })
    }
}

/// A text without a translation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectedText {
    /// The reason.
    pub reason: Rejection,
    /// The server's message or the start of its reply.
    pub detail: String,
    /// The text.
    pub text: String,
}

/// Counts of cleaned and rejected replies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplyReport {
    /// Number of texts that were split into sentences, because the server does not accept the complete
    /// text or truncates its translation.
    pub split: usize,
    /// Number of replies from which a part was removed, by kind.
    pub removed: BTreeMap<RemovedPart, usize>,
    /// Number of rejected texts, by reason.
    pub rejected: BTreeMap<Rejection, usize>,
    /// The rejected texts.
    pub rejected_texts: Vec<RejectedText>,
}

impl ReplyReport {
    /// Returns whether all counts are 0.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the counts of another report.
    pub fn add(&mut self, other: Self) {
        self.split += other.split;
        for (part, count) in other.removed {
            *self.removed.entry(part).or_default() += count;
        }
        for (reason, count) in other.rejected {
            *self.rejected.entry(reason).or_default() += count;
        }
        self.rejected_texts.extend(other.rejected_texts);
    }
}

/// Maximum number of texts that a server may reject before it has translated any text. A server
/// that rejects every text has probably got a wrong language code or model name.
const MAX_INITIAL_REJECTIONS: usize = 16;

/// A text that the server does not translate.
#[derive(Debug)]
pub(super) struct Rejected {
    pub reason: Rejection,
    pub detail: String,
}

/// The outcomes of a translator's requests.
pub(super) struct Outcomes {
    /// How to handle a text that the server does not accept.
    pub missing: MissingText,
    pub report: ReplyReport,
    has_translated: bool,
}

impl Outcomes {
    pub(super) fn new() -> Self {
        let report = ReplyReport::default();
        Self { missing: MissingText::Error, report, has_translated: false }
    }

    /// Records a translation.
    pub(super) fn accept(&mut self) {
        self.has_translated = true;
    }

    pub(super) fn count_removed(&mut self, parts: &[RemovedPart]) {
        for &part in parts {
            *self.report.removed.entry(part).or_default() += 1;
        }
    }

    /// Records a text without a translation. Returns a message if the run must end: the server does
    /// not accept the text and such texts are errors, or the server has accepted no text so far.
    pub(super) fn reject(&mut self, text: &str, rejected: Rejected) -> Result<(), String> {
        let Rejected { reason, detail } = rejected;
        if reason == Rejection::Status {
            if self.missing == MissingText::Error {
                let start: String = text.chars().take(80).collect();
                return Err(format!(
                    "{detail}, for the text {start:?}; shorten it, or skip such texts \
                     (--missing skip)"
                ));
            }
            let count = self.report.rejected.get(&reason).map_or(1, |count| count + 1);
            if !self.has_translated && count >= MAX_INITIAL_REJECTIONS {
                return Err(format!("the first {count} texts were rejected; the last: {detail}"));
            }
        }
        *self.report.rejected.entry(reason).or_default() += 1;
        self.report.rejected_texts.push(RejectedText { reason, detail, text: text.to_owned() });
        Ok(())
    }
}
