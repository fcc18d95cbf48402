//! The tables of characters in SentencePiece's normalisers, which `tokenizers` follows unchecked.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::growth::MAX_GROWTH;

/// Bytes of a unit of the table, and units of one of its blocks.
const UNIT: usize = 4;
const BLOCK: usize = 256;

/// How many characters a `precompiled_charsmap` makes of one at most; the error says that it is
/// damaged.
///
/// It is the length of a table, the table, which is a double-array trie of bytes (Darts), and
/// texts that end with a zero byte. No step from one unit to the next may lead out of the table,
/// and no entry out of the texts.
pub(crate) fn longest(packed: &str) -> Result<usize, String> {
    let damaged = || "its precompiled_charsmap is damaged".to_owned();
    let bytes = STANDARD.decode(packed).map_err(|_| damaged())?;
    let (length, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| damaged())?;
    let (table, texts) = rest.split_at_checked(length).ok_or_else(damaged)?;
    let (table, []) = table.as_chunks::<UNIT>() else { return Err(damaged()) };
    let texts = std::str::from_utf8(texts).map_err(|_| damaged())?;
    let unit = |place: usize| table.get(place).map(|bytes| u32::from_le_bytes(*bytes));
    let mut longest = 1;
    unit(0).ok_or_else(damaged)?;
    for (place, bytes) in table.iter().enumerate() {
        let here = u32::from_le_bytes(*bytes);
        // The first is followed whatever it says.
        if place > 0 && here >> 31 == 1 {
            continue; // The value of another unit, or of none.
        }
        let offset = (here >> 10) << ((here & (1 << 9)) >> 6);
        let next = place ^ usize::try_from(offset).map_err(|_| damaged())?;
        // A byte leads from there to anywhere in the block.
        unit(next | (BLOCK - 1)).ok_or_else(damaged)?;
        if here >> 8 & 1 == 1 {
            let start = unit(next).ok_or_else(damaged)? & !(1 << 31);
            let start = usize::try_from(start).map_err(|_| damaged())?;
            let text = texts.get(start..).ok_or_else(damaged)?;
            let length = text.chars().take(MAX_GROWTH + 1).take_while(|&c| c != '\0').count();
            longest = longest.max(length);
        }
    }
    Ok(longest)
}
