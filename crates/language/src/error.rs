//! Error type of this crate.

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
