//! Formats of documents.
use std::path::Path;

/// The format of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text, which is returned unchanged.
    Text,
    /// Markdown (CommonMark with tables, footnotes and strikethrough).
    Markdown,
    /// HTML or XHTML.
    Html,
    /// PDF.
    Pdf,
}

/// Number of bytes that are searched for the signature of a PDF file. Some programs write other
/// bytes before it.
const PDF_SIGNATURE_BYTES: usize = 1024;

const EXTENSIONS: [(&str, Format); 8] = [
    ("htm", Format::Html),
    ("html", Format::Html),
    ("markdown", Format::Markdown),
    ("md", Format::Markdown),
    ("pdf", Format::Pdf),
    ("text", Format::Text),
    ("txt", Format::Text),
    ("xhtml", Format::Html),
];

impl Format {
    /// Returns the format of a file: PDF if the first bytes have its signature, otherwise by the
    /// name's extension. Without a known extension, the format is HTML if the text starts with
    /// `<!doctype html` or `<html`, and plain text otherwise.
    pub fn of(name: &Path, bytes: &[u8]) -> Self {
        let head = &bytes[..bytes.len().min(PDF_SIGNATURE_BYTES)];
        if head.windows(5).any(|window| window == b"%PDF-") {
            return Self::Pdf;
        }
        match Self::of_name(name) {
            // Without the signature, the file is not PDF.
            Some(Self::Pdf) | None if is_html(head) => Self::Html,
            Some(format) => format,
            None => Self::Text,
        }
    }

    /// Returns the format of a file with this name; `None` if the extension is unknown. An
    /// additional extension `.gz` is ignored.
    pub fn of_name(name: &Path) -> Option<Self> {
        let name = name.file_name()?.to_string_lossy().to_lowercase();
        let (_, extension) = name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.')?;
        EXTENSIONS.iter().find(|(known, _)| *known == extension).map(|&(_, format)| format)
    }
}

fn is_html(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let starts_with =
        |start: &[u8]| head.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    starts_with(b"<!doctype html") || starts_with(b"<html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_precede_extensions() {
        let cases: [(&str, &[u8], Format); 10] = [
            ("a.txt", b"%PDF-1.7", Format::Pdf),
            ("a", b"junk\n%PDF-1.4", Format::Pdf),
            ("a.HTM.gz", b"<p>", Format::Html),
            ("a.md", b"# Lima", Format::Markdown),
            ("-", b"\xef\xbb\xbf\n<!DOCTYPE html>", Format::Html),
            ("-", b"<HTML lang=de>", Format::Html),
            ("a.txt", b"<html>", Format::Text),
            ("-", b"Lima", Format::Text),
            ("a.rst", b"", Format::Text),
            ("a.pdf", b"<html>no such file", Format::Html),
        ];
        for (name, bytes, format) in cases {
            assert_eq!(Format::of(Path::new(name), bytes), format, "{name}");
        }
    }
}
