//! Validation of the character tables in SentencePiece's normalisers, which `tokenizers` uses
//! unchecked.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Maximum number of characters that a normaliser may produce for one character or prepend to a
/// text.
pub(crate) const MAX_GROWTH: usize = 1000;

/// Bytes per unit of the table and units per block.
const UNIT_BYTES: usize = 4;
const BLOCK_UNITS: usize = 256;

/// Returns the maximum number of characters that a `precompiled_charsmap` produces for one
/// character, or an error if the data are damaged.
///
/// The data are the length of the table, the table (a double-array trie over bytes, Darts) and
/// zero-terminated texts. All transitions must stay inside the table, and all values inside the
/// texts.
pub(crate) fn max_expansion(packed: &str) -> Result<usize, String> {
    let damaged_error = || "its precompiled_charsmap is damaged".to_owned();
    let bytes = STANDARD.decode(packed).map_err(|_| damaged_error())?;
    let (size, after_length) = bytes.split_first_chunk().ok_or_else(damaged_error)?;
    let table_size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| damaged_error())?;
    let (table, texts) = after_length.split_at_checked(table_size).ok_or_else(damaged_error)?;
    let (table, []) = table.as_chunks::<UNIT_BYTES>() else { return Err(damaged_error()) };
    let texts = std::str::from_utf8(texts).map_err(|_| damaged_error())?;
    let unit_at = |index: usize| table.get(index).map(|bytes| u32::from_le_bytes(*bytes));
    let mut max_text_length = 1;
    unit_at(0).ok_or_else(damaged_error)?;
    for (index, bytes) in table.iter().enumerate() {
        let unit = u32::from_le_bytes(*bytes);
        // The root is a transition even if its top bit is set.
        if index > 0 && unit >> 31 == 1 {
            continue; // A value, which another unit refers to, or an unused unit.
        }
        let offset = (unit >> 10) << ((unit & (1 << 9)) >> 6);
        let children = index ^ usize::try_from(offset).map_err(|_| damaged_error())?;
        // The next byte of a text selects one of the units of this block.
        unit_at(children | (BLOCK_UNITS - 1)).ok_or_else(damaged_error)?;
        if unit >> 8 & 1 == 1 {
            let start = unit_at(children).ok_or_else(damaged_error)? & !(1 << 31);
            let start = usize::try_from(start).map_err(|_| damaged_error())?;
            let text = texts.get(start..).ok_or_else(damaged_error)?;
            let text_length = text.chars().take(MAX_GROWTH + 1).take_while(|&c| c != '\0').count();
            max_text_length = max_text_length.max(text_length);
        }
    }
    Ok(max_text_length)
}
