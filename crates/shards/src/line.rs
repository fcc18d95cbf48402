//! Length limit of the lines of a shard, and removal of byte order marks and line ends.

/// Maximum length of a line in bytes. The limit bounds memory use for files without line ends.
pub(crate) const MAX_LINE_BYTES: u64 = 1 << 26;

/// Returns a line without a byte order mark.
pub(crate) fn without_bom(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// Returns a line without `\n` or `\r\n`.
pub(crate) fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
