//! Limits on normalisers that lengthen texts.
use serde_json::Value;

use crate::charsmap;

/// Maximum number of characters that a normaliser may produce per character, and prepend to a text.
pub(crate) const MAX_GROWTH: usize = 1000;

/// Rejects a `normalizer` of `tokenizer.json` if its combined replacements can produce more than
/// [`MAX_GROWTH`] characters per character, if it prepends more than that to a text, or if its
/// character table is damaged.
pub(crate) fn check(normalizer: &Value) -> Result<(), String> {
    let mut growth = Growth { factor: 1, before: 0 };
    growth.add(normalizer)?;
    if growth.factor > MAX_GROWTH || growth.before > MAX_GROWTH {
        return Err(format!(
            "its normalizer can make {} characters of one and puts {} before a text; expected at \
             most {MAX_GROWTH}; take the tokenizer.json of the model's page",
            growth.factor, growth.before
        ));
    }
    Ok(())
}

struct Growth {
    factor: usize,
    before: usize,
}

impl Growth {
    fn add(&mut self, normalizer: &Value) -> Result<(), String> {
        // Normalisers are recognised by their keys, because old files have no types.
        let length = |key: &str| normalizer[key].as_str().map_or(0, |text| text.chars().count());
        let parts = normalizer["normalizers"].as_array();
        parts.into_iter().flatten().try_for_each(|part| self.add(part))?;
        self.before = self.before.saturating_add(length("prepend"));
        if let Some(packed) = normalizer["precompiled_charsmap"].as_str() {
            self.factor = self.factor.saturating_mul(charsmap::longest(packed)?);
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

/// The minimum number of characters in a match; 0 if unknown.
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
