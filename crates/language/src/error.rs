//! What can go wrong with a language code.

/// A text that is no language code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("language: expected {}, got {code:?}", Self::EXPECTED)]
pub struct LanguageError {
    /// The text.
    pub code: String,
}

impl LanguageError {
    /// What a code has to be; completes the sentence "expected …".
    pub const EXPECTED: &str =
        "a language code of 1 to 23 letters, digits or hyphens, such as `en`";
}
