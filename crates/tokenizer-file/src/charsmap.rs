//! The character tables in SentencePiece's normalisers, which `tokenizers` uses without checks.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Maximum number of characters that a normaliser may produce per character, and prepend to a text.
pub(crate) const MAX_GROWTH: usize = 1000;

/// Bytes per unit of the table, and units per block.
const UNIT: usize = 4;
const BLOCK: usize = 256;

/// Returns the maximum number of characters that a `precompiled_charsmap` produces for one
/// character; the error is for a damaged table.
///
/// The data are the length of a table, the table (a double-array trie over bytes, Darts), and
/// zero-terminated texts. All transitions must stay inside the table, and all values inside the
/// texts.
pub(crate) fn max_expansion(packed: &str) -> Result<usize, String> {
    let damaged = || "its precompiled_charsmap is damaged".to_owned();
    let bytes = STANDARD.decode(packed).map_err(|_| damaged())?;
    let (length, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| damaged())?;
    let (table, texts) = rest.split_at_checked(length).ok_or_else(damaged)?;
    let (table, []) = table.as_chunks::<UNIT>() else { return Err(damaged()) };
    let texts = std::str::from_utf8(texts).map_err(|_| damaged())?;
    let unit = |index: usize| table.get(index).map(|bytes| u32::from_le_bytes(*bytes));
    let mut max_length = 1;
    unit(0).ok_or_else(damaged)?;
    for (index, bytes) in table.iter().enumerate() {
        let value = u32::from_le_bytes(*bytes);
        // The root is a transition even if its top bit is set.
        if index > 0 && value >> 31 == 1 {
            continue; // A value, which another unit refers to, or an unused unit.
        }
        let offset = (value >> 10) << ((value & (1 << 9)) >> 6);
        let next = index ^ usize::try_from(offset).map_err(|_| damaged())?;
        // The next byte selects any unit of this block.
        unit(next | (BLOCK - 1)).ok_or_else(damaged)?;
        if value >> 8 & 1 == 1 {
            let start = unit(next).ok_or_else(damaged)? & !(1 << 31);
            let start = usize::try_from(start).map_err(|_| damaged())?;
            let text = texts.get(start..).ok_or_else(damaged)?;
            let length = text.chars().take(MAX_GROWTH + 1).take_while(|&c| c != '\0').count();
            max_length = max_length.max(length);
        }
    }
    Ok(max_length)
}
