//! The error for an invalid language code.

/// A text that is not a language code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("language: expected {}, got {code:?}", Self::EXPECTED)]
pub struct LanguageError {
    /// The invalid text.
    pub code: String,
}

impl LanguageError {
    /// The requirement for a code, as the continuation of "expected …".
    pub const EXPECTED: &str =
        "a language code of 1 to 23 letters, digits or hyphens, such as `en`";
}
