//! Names of arms and variants: validation, patterns, nearest name and order.
use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

use crate::{Error, Result};

/// Maximum length of a name in bytes; file systems allow 255.
const MAX_NAME_BYTES: usize = 200;

/// Rejects names that are unsuitable for a folder in a run.
pub(crate) fn check_folder_name(key: &str, name: &str) -> Result<()> {
    let reason = if name.is_empty() {
        "is empty"
    } else if name.starts_with('.') {
        "starts with a dot"
    } else if name.contains(['/', '\\']) || name.contains(char::is_control) {
        "contains a slash or a control character"
    } else if name.len() > MAX_NAME_BYTES {
        "is longer than 200 bytes"
    } else {
        return Ok(());
    };
    Err(Error::setting(format!("{key}.{name:?}"), format!("not a valid folder name: it {reason}")))
}

/// Whether `name` matches `pattern`, in which `*` matches any characters and `?` one character.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut pattern_chars = pattern.chars();
    match pattern_chars.next() {
        None => name.is_empty(),
        Some('*') => {
            let suffix_pattern = pattern_chars.as_str();
            let mut name_chars = name.chars();
            loop {
                if matches(suffix_pattern, name_chars.as_str()) {
                    return true;
                }
                if name_chars.next().is_none() {
                    return false;
                }
            }
        }
        Some(expected) => {
            let mut name_chars = name.chars();
            let matches_first =
                name_chars.next().is_some_and(|actual| expected == '?' || actual == expected);
            matches_first && matches(pattern_chars.as_str(), name_chars.as_str())
        }
    }
}

/// The first of `names` with the smallest edit distance to `name`.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names.into_iter().min_by_key(|candidate| strsim::damerau_levenshtein(name, candidate))
}

/// Natural order: sequences of digits in names are compared as numbers.
pub(crate) fn natural_order(left: &str, right: &str) -> Ordering {
    let (mut left_chars, mut right_chars) = (left.chars().peekable(), right.chars().peekable());
    loop {
        let order = match (left_chars.peek().copied(), right_chars.peek().copied()) {
            (None, None) => return left.cmp(right),
            (Some(a), Some(b)) if a.is_ascii_digit() && b.is_ascii_digit() => {
                let (a, b) = (take_digits(&mut left_chars), take_digits(&mut right_chars));
                a.len().cmp(&b.len()).then_with(|| a.cmp(&b))
            }
            (a, b) => {
                left_chars.next();
                right_chars.next();
                a.cmp(&b)
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Consumes digits; returns them without leading zeros.
fn take_digits(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut number = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        number.push(digit);
    }
    number.trim_start_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("table4-*", "table4-mep", true),
            ("table4-*", "fig4-mep", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*+aa-*", "hl+aa-cl", true),
            ("base", "base2", false),
            ("ü*", "über", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn names_unsuitable_for_folders_are_rejected() {
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a\\b", "a\nb", &"x".repeat(201)] {
            assert!(check_folder_name("arms", name).is_err(), "{name:?}");
        }
        for name in ["base", "hl+aa-cl", "temperature-0.5", "größe"] {
            assert!(check_folder_name("arms", name).is_ok(), "{name}");
        }
    }

    #[test]
    fn numbers_in_names_are_compared_as_numbers() {
        let mut names = ["t-10", "t-2", "t-1", "t-0.5", "b", "t-02"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["b", "t-0.5", "t-1", "t-02", "t-2", "t-10"]);
    }
}
