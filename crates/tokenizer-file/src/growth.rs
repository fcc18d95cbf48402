//! Limits on normalisers that lengthen texts.
use serde_json::Value;

use crate::charsmap::{self, MAX_GROWTH};

/// Rejects a `normalizer` of `tokenizer.json` that lengthens texts too much or is damaged.
///
/// Its combined replacements may produce [`MAX_GROWTH`] characters per character, and it may
/// prepend as many to a text. Its character table must be valid.
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
    /// Characters per character.
    factor: usize,
    /// Characters before the text.
    prepended: usize,
}

impl Growth {
    fn add(&mut self, normalizer: &Value) -> Result<(), String> {
        // Normalisers are recognised by their keys, because old files have no types.
        let length = |key: &str| normalizer[key].as_str().map_or(0, |text| text.chars().count());
        let parts = normalizer["normalizers"].as_array();
        parts.into_iter().flatten().try_for_each(|part| self.add(part))?;
        self.prepended = self.prepended.saturating_add(length("prepend"));
        if let Some(packed) = normalizer["precompiled_charsmap"].as_str() {
            self.factor = self.factor.saturating_mul(charsmap::max_expansion(packed)?);
        }
        if normalizer["pattern"].is_object() {
            let factor = match shortest_match(&normalizer["pattern"]) {
                // An empty match inserts the content next to every character.
                0 => length("content").saturating_add(1),
                shortest => length("content").div_ceil(shortest).max(1),
            };
            self.factor = self.factor.saturating_mul(factor);
        }
        Ok(())
    }
}

/// Returns the minimum number of characters in a match; 0 if unknown.
fn shortest_match(pattern: &Value) -> usize {
    match (pattern["String"].as_str(), pattern["Regex"].as_str()) {
        (Some(text), _) => text.chars().count(),
        (_, Some(regex)) => {
            let parsed = regex_syntax::parse(regex).ok();
            // The minimum is in bytes, and a character has at most four.
            parsed.and_then(|parsed| parsed.properties().minimum_len()).unwrap_or(0).div_ceil(4)
        }
        _ => 0,
    }
}
