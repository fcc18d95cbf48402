#![doc = include_str!("../README.md")]

mod characters;
mod charset;
mod error;
mod format;
mod html;
mod markdown;
mod pages;
mod pdf;

use std::path::Path;

pub use error::{Error, Result};
pub use format::Format;
pub use pages::{PAGE_BREAK, page_of};

/// Maximum size of a file in bytes; a larger file is probably not a document.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// The text of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// The text. Each page of a PDF file ends with [`PAGE_BREAK`]; blank lines separate paragraphs.
    pub text: String,
    /// The title in the file's metadata, if there is one.
    pub title: Option<String>,
    /// The language tag in the file's metadata, if there is one, such as `de-AT`.
    pub language: Option<String>,
    /// Problems that affect a part of the text.
    pub warnings: Vec<String>,
}

/// Reads the text of a file. The format is determined by [`Format::of`]. A file compressed with gzip
/// is decompressed; `-` is standard input.
///
/// # Errors
/// [`Error::Read`] if the file cannot be read, is larger than [`MAX_FILE_BYTES`], or is a text file
/// that is not UTF-8; otherwise the errors of [`extract`].
///
/// # Examples
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("lima.html");
/// std::fs::write(&path, "<title>Lima</title><nav>Home</nav><p>Lima is in <b>Peru</b>.</p>")?;
/// let document = documents::read(&path)?;
/// assert_eq!(document.text, "Lima is in Peru.");
/// assert_eq!(document.title.as_deref(), Some("Lima"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(path: impl AsRef<Path>) -> Result<Extracted> {
    let path = path.as_ref();
    let bytes = atomic_file::read_with_bom(path, MAX_FILE_BYTES)?;
    extract(path, bytes)
}

/// Extracts the text of a document in memory. `name` determines the format together with the first
/// bytes, and is part of error messages.
///
/// # Errors
/// [`Error::Content`] if the document is damaged, exceeds a limit, or has no text that can be
/// extracted: a scanned PDF file, an encrypted one, or one whose fonts do not map to characters;
/// [`Error::Read`] if a text is not UTF-8.
pub fn extract(name: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Extracted> {
    let name = name.as_ref();
    let content_error = |problem| Error::Content { path: name.to_owned(), problem };
    match Format::of(name, &bytes) {
        Format::Pdf => pdf::extract(bytes).map_err(content_error),
        Format::Html => {
            let text = charset::decode_html(&bytes).map_err(content_error)?;
            html::extract(&text).map_err(content_error)
        }
        Format::Markdown => {
            markdown::extract(&atomic_file::to_utf8(name, bytes)?).map_err(content_error)
        }
        Format::Text => {
            let text = atomic_file::to_utf8(name, bytes)?;
            Ok(Extracted { text, ..Extracted::default() })
        }
    }
}
