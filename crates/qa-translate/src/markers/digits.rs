//! Numbers in the decimal digits of any script.
use language::fold;

use super::invisible::count_leading;

/// Returns the value of a decimal digit.
fn digit_value(c: char) -> Option<usize> {
    let digit = match c.is_numeric() {
        true => fold(c.encode_utf8(&mut [0; 4])).as_str().parse::<u8>().ok()?,
        false => return None,
    };
    (digit < 10).then_some(usize::from(digit))
}

/// Parses decimal digits after blank characters. Returns the number, and the length of the parsed
/// part in code points; `None` without a digit, or if the number is too large.
pub(super) fn parse_digits(text: &[char]) -> Option<(usize, usize)> {
    let mut index = count_leading(text);
    let mut value: Option<usize> = None;
    while let Some(digit) = text.get(index).copied().and_then(digit_value) {
        // Before the first digit, the value is 0.
        value = Some(value.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
        index += 1;
    }
    value.map(|value| (value, index))
}

/// Parses a number and a colon at the start of a text. Returns the number, and the length of the
/// parsed part in code points. Colons of other forms are accepted.
pub(super) fn parse_number(text: &[char]) -> Option<(usize, usize)> {
    let (value, length) = parse_digits(text)?;
    let rest = text.get(length..)?;
    let colon = count_leading(rest);
    let is_colon = |c: &char| matches!(c, ':' | '：' | '﹕' | '꞉' | '∶' | '︓');
    rest.get(colon).is_some_and(is_colon).then_some((value, length + colon + 1))
}
