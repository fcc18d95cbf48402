//! Parsing and validation of tags.

/// Splits a tag into its first character and the type after the dash, as `seqeval` does.
///
/// For `O` and tags that are a single letter, the type is `_`.
pub(crate) fn split(tag: &str) -> (char, &str) {
    let mut chars = tag.chars();
    let letter = chars.next().expect("a tag is not empty");
    let suffix = chars.as_str();
    let kind = suffix.split_once('-').map_or(suffix, |(_, kind)| kind);
    (letter, if kind.is_empty() { "_" } else { kind })
}

/// Checks that `tag` is `O`, or one of the letters B, I, E and S, followed by a dash and a type.
pub(crate) fn check(tag: &str) -> Result<(), String> {
    let problem = match tag.split_once('-') {
        None if tag == "O" => return Ok(()),
        Some(("B" | "I" | "E" | "S", kind)) if !kind.is_empty() => return Ok(()),
        Some(("B" | "I" | "E" | "S", _)) => "has no type",
        _ => "is unknown",
    };
    Err(format!("tag `{tag}` {problem}; expected O, or B-, I-, E- or S- and a type, such as B-PER"))
}
