//! Error types of this crate.
use crate::Language;

/// Error for a text that is not a language code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("language: expected {}, got {code:?}", Self::EXPECTED)]
pub struct LanguageError {
    /// The invalid text.
    pub code: String,
}

impl LanguageError {
    /// The requirement for a code, which follows "expected" in error messages.
    pub const EXPECTED: &str =
        "a language code of 1 to 23 letters, digits, hyphens or underscores, such as `en`";
}

/// Error for a text that is not a code of the ISO 639 registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown language {code:?}: expected a code of ISO 639, two letters such as `en`, or three letters \
     for a language without a two-letter code{}",
    hint(*suggestion)
)]
pub struct UnknownLanguage {
    /// The text.
    pub code: String,
    /// The language that the text probably means.
    pub suggestion: Option<Language>,
}

fn hint(suggestion: Option<Language>) -> String {
    let name = |language: Language| match language.name() {
        name if name == language.as_str() => String::new(),
        name => format!(" ({name})"),
    };
    suggestion.map_or_else(String::new, |language| {
        format!("; did you mean `{language}`{}?", name(language))
    })
}
