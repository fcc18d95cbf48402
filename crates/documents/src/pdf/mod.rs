//! Text of PDF files.
mod assembly;
mod characters;
mod cmap;
mod content;
mod encoding;
mod font;
mod geometry;
mod layout;
mod outlines;
mod radicals;

use std::sync::Once;

use lopdf::{Document, LoadOptions, Object};

use self::characters::is_unmapped;
use self::content::{Interpreter, MAX_OPERATIONS};
use self::layout::Line;
use crate::Extracted;

/// Maximum size of an object stream when it is decompressed.
const MAX_STREAM_BYTES: usize = 256 << 20;

/// Maximum number of pages.
const MAX_PAGES: usize = 20_000;

/// Share of characters without a known letter above which a page is reported.
const REPORTED_PERCENT: usize = 5;

/// Share of characters without a known letter above which a file is rejected.
const REJECTED_PERCENT: usize = 30;

/// Stack size of the thread that reads a file, whose objects can be nested.
const STACK_BYTES: usize = 64 << 20;

/// Name of the thread that reads a file.
const THREAD: &str = "polyqa-pdf";

/// Extracts the text of a PDF file in content order. The file is read in a separate thread, so that
/// a panic of a library becomes an error.
pub fn extract(bytes: Vec<u8>) -> Result<Extracted, String> {
    silence_panics();
    let thread = std::thread::Builder::new().name(THREAD.to_owned()).stack_size(STACK_BYTES);
    let thread = thread.spawn(move || read(&bytes, MAX_OPERATIONS));
    let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
    thread.join().unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message"); // no text
        Err(format!("the PDF file is damaged or unusual (a fault in its reader: {text})"))
    })
}

/// Suppresses messages of panics in the thread of [`extract`], which become errors.
fn silence_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() != Some(THREAD) {
                previous(panic);
            }
        }));
    });
}

fn read(bytes: &[u8], max_operations: u64) -> Result<Extracted, String> {
    let options =
        LoadOptions { max_decompressed_size: Some(MAX_STREAM_BYTES), ..LoadOptions::default() };
    let document = Document::load_mem_with_options(bytes, options)
        .map_err(|error| format!("the PDF file is damaged: {error}; try `qpdf FILE NEW_FILE`"))?;
    if document.is_encrypted() && !document.was_encrypted() {
        return Err("the PDF file is encrypted; remove the password with `qpdf --decrypt --password=… FILE \
                    NEW_FILE`"
            .to_owned());
    }
    let pages: Vec<_> = document.page_iter().take(MAX_PAGES + 1).collect();
    match pages.len() {
        0 => return Err("the PDF file has no pages; it may be damaged".to_owned()),
        1..=MAX_PAGES => {}
        _ => return Err(format!("the PDF file has more than {MAX_PAGES} pages; split it")),
    }
    let mut interpreter = Interpreter::new(&document, max_operations);
    let mut lines: Vec<Vec<Line>> = Vec::with_capacity(pages.len());
    for (index, &page) in pages.iter().enumerate() {
        let glyphs =
            interpreter.page(page).map_err(|error| format!("page {}: {error}", index + 1))?;
        lines.push(layout::lines(glyphs));
    }
    let warnings = check(&lines)?;
    Ok(Extracted {
        text: assembly::text(lines),
        title: text_of(&document, b"Info", b"Title"),
        language: text_of(&document, b"Root", b"Lang"),
        warnings,
    })
}

/// Checks that the pages have text, and that it consists of known letters. Returns warnings.
fn check(pages: &[Vec<Line>]) -> Result<Vec<String>, String> {
    let (mut total, mut total_unmapped, mut reported) = (0, 0, Vec::new());
    for (lines, number) in pages.iter().zip(1..) {
        let chars = || lines.iter().flat_map(|line| line.text.chars());
        let chars_of_page = chars().filter(|char| !char.is_whitespace()).count();
        let unmapped = chars().filter(|&char| is_unmapped(char)).count();
        if 100 * unmapped > REPORTED_PERCENT * chars_of_page {
            reported.push(number);
        }
        total += chars_of_page;
        total_unmapped += unmapped;
    }
    if total == 0 {
        return Err(format!(
            "no text on {}: scanned or drawn pages need text recognition (OCR) first, such as `ocrmypdf \
             FILE NEW_FILE`",
            match pages.len() {
                1 => "the page".to_owned(),
                count => format!("any of the {count} pages"),
            }
        ));
    }
    if 100 * total_unmapped > REJECTED_PERCENT * total {
        return Err(format!(
            "the fonts do not map to letters for {} % of the characters; text recognition (OCR) such as \
             `ocrmypdf --force-ocr FILE NEW_FILE` can replace them",
            100 * total_unmapped / total
        ));
    }
    let numbers: Vec<String> = reported.iter().map(|page: &usize| page.to_string()).collect();
    let warning = format!(
        "page{} {}: the fonts do not map to letters for more than {REPORTED_PERCENT} % of the characters",
        if numbers.len() == 1 { "" } else { "s" },
        numbers.join(", ")
    );
    Ok(if numbers.is_empty() { Vec::new() } else { vec![warning] })
}

/// Returns a text in a dictionary of the trailer.
fn text_of(document: &Document, dictionary: &[u8], key: &[u8]) -> Option<String> {
    let dictionary =
        document.trailer.get_deref(dictionary, document).and_then(Object::as_dict).ok()?;
    let text = lopdf::decode_text_string(dictionary.get_deref(key, document).ok()?).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests;
