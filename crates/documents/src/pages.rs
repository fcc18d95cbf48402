//! Page numbers.

/// The character at the end of each page: form feed, as in the output of `pdftotext`.
pub const PAGE_BREAK: char = '\u{c}';

/// Returns the number of the page at a byte offset of a text, from 1; `None` if the text has no
/// [`PAGE_BREAK`].
///
/// # Examples
/// ```
/// assert_eq!(documents::page_of("Lima\u{c}Quito\u{c}", 5), Some(2));
/// assert_eq!(documents::page_of("Lima", 0), None);
/// ```
///
/// # Panics
/// If `byte` exceeds the text's length.
pub fn page_of(text: &str, byte: usize) -> Option<usize> {
    let count = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == PAGE_BREAK as u8).count();
    let (before, after) = text.as_bytes().split_at(byte);
    let page = 1 + count(before);
    (page > 1 || after.contains(&(PAGE_BREAK as u8))).then_some(page)
}
