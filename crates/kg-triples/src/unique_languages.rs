//! Validation of language lists.
use std::collections::BTreeSet;
use std::fmt::Display;

use crate::Error;

/// Rejects a list that contains a language twice. Codes are compared without regard to case.
///
/// # Errors
/// [`Error::Config`] naming `key` and the list.
///
/// ```
/// use kg_triples::check_unique_languages;
///
/// assert!(check_unique_languages("languages", ["en", "de"]).is_ok());
/// let error = check_unique_languages("languages", ["en", "de", "DE"]).unwrap_err().to_string();
/// assert_eq!(error, "languages = en,de,DE: must be a list that names each language once");
/// ```
pub fn check_unique_languages(
    key: &'static str,
    languages: impl IntoIterator<Item = impl Display>,
) -> Result<(), Error> {
    let codes: Vec<String> = languages.into_iter().map(|code| code.to_string()).collect();
    let mut seen = BTreeSet::new();
    if codes.iter().all(|code| seen.insert(code.to_ascii_lowercase())) {
        return Ok(());
    }
    let rule = "a list that names each language once";
    Err(Error::Config { key, value: codes.join(","), rule })
}
