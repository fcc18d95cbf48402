//! Normalisers that make texts longer.
use serde_json::Value;

use crate::charsmap;

/// How many characters a normaliser may make of one, and put before a text.
pub(crate) const MAX_GROWTH: usize = 1000;

/// Refuses a `normalizer` of `tokenizer.json` whose replacements, one after the other, can make
/// more than [`MAX_GROWTH`] characters of one, or that puts more than that before a text, and a
/// damaged table of characters.
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
        // By their keys: files of old name no types.
        let length = |key: &str| normalizer[key].as_str().map_or(0, |text| text.chars().count());
        let parts = normalizer["normalizers"].as_array();
        parts.into_iter().flatten().try_for_each(|part| self.add(part))?;
        self.before = self.before.saturating_add(length("prepend"));
        if let Some(packed) = normalizer["precompiled_charsmap"].as_str() {
            self.factor = self.factor.saturating_mul(charsmap::longest(packed)?);
        }
        if normalizer["pattern"].is_object() {
            let factor = match shortest_match(&normalizer["pattern"]) {
                // Beside every character, since nothing is enough for a match.
                0 => length("content").saturating_add(1),
                shortest => length("content").div_ceil(shortest).max(1),
            };
            self.factor = self.factor.saturating_mul(factor);
        }
        Ok(())
    }
}

/// Characters that a match has at least, 0 where that is not known.
fn shortest_match(pattern: &Value) -> usize {
    match (pattern["String"].as_str(), pattern["Regex"].as_str()) {
        (Some(text), _) => text.chars().count(),
        (_, Some(regex)) => {
            let read = regex_syntax::parse(regex).ok();
            // In bytes, of which a character has at most four.
            read.and_then(|read| read.properties().minimum_len()).unwrap_or(0).div_ceil(4)
        }
        _ => 0,
    }
}
