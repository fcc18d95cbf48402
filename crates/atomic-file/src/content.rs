//! Recognition of files that are not UTF-8 text.
use std::io::{self, ErrorKind};

/// First bytes of file formats, their names, and how to convert such a file to text. Signatures are
/// from the formats' specifications.
const SIGNATURES: [(&[u8], &str, &str); 15] = [
    (b"%PDF-", "a PDF file", "extract the text, for example with pdftotext"),
    (
        b"PK\x03\x04",
        "a ZIP archive, such as a docx, xlsx, odt or epub file",
        "extract or export the text",
    ),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Microsoft Office file (doc, xls)",
        "save it as text",
    ),
    (b"{\\rtf", "a rich text file (RTF)", "save it as plain text"),
    (b"PAR1", "a Parquet file", "name it *.parquet where Parquet is supported"),
    (
        b"\x00\x05\x16\x07",
        "a file of attributes that macOS writes (._NAME)",
        "use the file without ._",
    ),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "decompress it"),
    (b"\xfd7zXZ\x00", "compressed with xz", "decompress it"),
    (b"BZh", "compressed with bzip2", "decompress it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "extract it"),
    (b"SQLite format 3\x00", "an SQLite database", "export it as text"),
    (b"\x89PNG", "a PNG image", "recognise its text"),
    (b"\xff\xd8\xff", "a JPEG image", "recognise its text"),
    (b"\xff\xfe", "text in UTF-16 (little-endian)", "convert it: iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "text in UTF-16 (big-endian)", "convert it: iconv -f UTF-16 -t UTF-8"),
];

/// Number of bytes at the start of a file that are examined for UTF-16 without a byte order mark.
const SAMPLE_BYTES: usize = 1024;

/// Checks the first bytes of a text file.
///
/// # Errors
/// [`ErrorKind::InvalidData`] that names the format, if the file is in a well-known format that is
/// not UTF-8 text, such as PDF, docx or UTF-16.
pub fn check_text_start(start: &[u8]) -> io::Result<()> {
    let signature = SIGNATURES.iter().find(|(bytes, ..)| start.starts_with(bytes));
    let (name, fix) = match signature {
        Some(&(_, name, fix)) => (name, fix),
        None if is_utf16(start) => ("text in UTF-16", "convert it: iconv -f UTF-16LE -t UTF-8"),
        None => return Ok(()),
    };
    let reason = format!("the file is {name}, not UTF-8 text; {fix}");
    Err(io::Error::new(ErrorKind::InvalidData, reason))
}

/// Returns whether bytes seem to be UTF-16 text without a byte order mark: in Latin text, every
/// second byte is zero.
fn is_utf16(start: &[u8]) -> bool {
    let sample = start.get(..SAMPLE_BYTES).unwrap_or(start);
    let zeros = sample.iter().filter(|&&byte| byte == 0).count();
    sample.len() >= 8 && 3 * zeros > sample.len()
}

/// Describes the first invalid byte of a text, for an error message. `valid_length` is the number of
/// valid bytes before it.
pub(crate) fn describe_invalid_utf8(bytes: &[u8], valid_length: usize) -> String {
    let (valid, rest) = bytes.split_at_checked(valid_length).unwrap_or((bytes, &[]));
    let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
    let fix = match rest.first() {
        // Bytes of letters in 8-bit encodings of European languages.
        Some(byte @ 0x80..) if is_8_bit_text(bytes) => format!(
            "; byte 0x{byte:02X} may be a letter of Windows-1252 or another 8-bit encoding: \
             iconv -f WINDOWS-1252 -t UTF-8"
        ),
        _ => String::new(),
    };
    format!("line {line} is not UTF-8; convert the file to UTF-8{fix}")
}

/// Returns whether bytes have no control characters, apart from white space.
fn is_8_bit_text(bytes: &[u8]) -> bool {
    let sample = bytes.get(..1 << 16).unwrap_or(bytes);
    sample.iter().all(|&byte| byte >= 0x20 || byte.is_ascii_whitespace() || byte == 0x0b)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use super::*;

    #[test]
    fn formats_are_named() {
        let utf16: Vec<u8> = "Wo liegt Lima?".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let with_bom = [b"\xff\xfe".as_slice(), &utf16].concat();
        for (start, name) in [
            (b"%PDF-1.7\n".as_slice(), "a PDF file"),
            (b"PK\x03\x04\x14\x00", "docx"),
            (b"\x00\x05\x16\x07\x00\x02", "macOS"),
            (b"PAR1\x15", "Parquet"),
            (&with_bom, "UTF-16 (little-endian)"),
            (&utf16, "UTF-16"),
        ] {
            let error = check_text_start(start).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("not UTF-8 text; "), "{error}");
        }
        for text in ["", "%PD", "PK", "{\"a\": 1}", "Lima\0Lima", "Wo liegt Lima?"] {
            check_text_start(text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn an_8_bit_encoding_is_suggested() {
        let text = b"eins\nM\xfchle";
        let message = describe_invalid_utf8(text, 6);
        assert!(message.starts_with("line 2 is not UTF-8; convert the file to UTF-8; byte 0xFC"));
        assert!(message.contains("WINDOWS-1252"), "{message}");
        assert!(!describe_invalid_utf8(b"\x00\x01\xff", 2).contains("1252"));
    }
}
