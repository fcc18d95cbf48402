//! Normalisation of names for comparison.
use std::sync::LazyLock;

use regex::Regex;

/// Matches characters that are neither spaces nor accepted by Python's `str.isalnum`.
static PATTERN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[^\p{L}\p{N} ]").expect("the pattern is valid"));

/// Normalises a name for comparison as WikiKGE-10's authors do: converts it to lower case, and
/// removes all characters except letters, numbers and spaces. Combining marks are also removed.
///
/// ```
/// use transfer_eval::names::normalize_name;
///
/// assert_eq!(normalize_name("Spider-Man (2002)"), "spiderman 2002");
/// ```
pub fn normalize_name(name: &str) -> String {
    PATTERN.replace_all(&name.to_lowercase(), "").into_owned()
}
