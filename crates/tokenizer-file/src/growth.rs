//! Limits on normalisers that lengthen texts.
use serde_json::Value;

use crate::charsmap::{self, MAX_GROWTH};

/// Rejects a `normalizer` of `tokenizer.json` that lengthens texts too much or is damaged.
///
/// All replacements together may produce at most [`MAX_GROWTH`] characters per input character.
/// The normaliser may prepend at most [`MAX_GROWTH`] characters to a text, and its character table
/// must be valid.
pub(crate) fn check(normalizer: &Value) -> Result<(), String> {
    let mut growth = Growth { factor: 1, prepended: 0 };
    growth.add(normalizer)?;
    if growth.factor > MAX_GROWTH || growth.prepended > MAX_GROWTH {
        return Err(format!(
            "its normalizer can expand one character to {} characters and prepends {} to a text; \
             expected at most {MAX_GROWTH}; download tokenizer.json again from the model's page",
            growth.factor, growth.prepended
        ));
    }
    Ok(())
}

/// Maximum growth of a text by a normaliser.
struct Growth {
    /// Maximum number of output characters per input character.
    factor: usize,
    /// Number of characters prepended to the text.
    prepended: usize,
}

impl Growth {
    fn add(&mut self, normalizer: &Value) -> Result<(), String> {
        // Normalisers are recognised by their keys, because old files do not contain their types.
        let length_of = |key: &str| normalizer[key].as_str().map_or(0, |text| text.chars().count());
        let steps = normalizer["normalizers"].as_array();
        steps.into_iter().flatten().try_for_each(|step| self.add(step))?;
        self.prepended = self.prepended.saturating_add(length_of("prepend"));
        if let Some(packed) = normalizer["precompiled_charsmap"].as_str() {
            self.factor = self.factor.saturating_mul(charsmap::max_expansion(packed)?);
        }
        if normalizer["pattern"].is_object() {
            let replacement_factor = match shortest_match(&normalizer["pattern"]) {
                // An empty match inserts the content next to every character.
                0 => length_of("content").saturating_add(1),
                shortest => length_of("content").div_ceil(shortest).max(1),
            };
            self.factor = self.factor.saturating_mul(replacement_factor);
        }
        Ok(())
    }
}

/// Returns the minimum number of characters in a match of the pattern; 0 if unknown.
fn shortest_match(pattern: &Value) -> usize {
    match (pattern["String"].as_str(), pattern["Regex"].as_str()) {
        (Some(text), _) => text.chars().count(),
        (_, Some(regex)) => {
            let syntax = regex_syntax::parse(regex).ok();
            // The minimum is in bytes, and a character has at most four.
            let bytes = syntax.and_then(|syntax| syntax.properties().minimum_len());
            bytes.map_or(0, |bytes| bytes.div_ceil(4))
        }
        _ => 0,
    }
}
