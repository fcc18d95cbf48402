//! Decodes HTML as text.
use encoding_rs::{Encoding, UTF_8};

/// Number of bytes of an HTML file that are searched for the declaration of its character encoding.
const DECLARATION_BYTES: usize = 4096;

/// Maximum share of characters of an HTML file that are invalid in its character encoding.
const MAX_INVALID_PERCENT: usize = 1;

/// Decodes HTML: by a byte order mark, by the encoding that the first bytes declare, or as UTF-8.
pub fn decode_html(bytes: &[u8]) -> Result<String, String> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(DECLARATION_BYTES)]);
    let declared = declared_label(&head);
    let encoding = match (Encoding::for_bom(bytes), &declared) {
        (Some((encoding, _)), _) => encoding,
        (None, None) => UTF_8,
        (None, Some(label)) => match Encoding::for_label(label.as_bytes()) {
            // ASCII characters that declare UTF-16 are not UTF-16.
            Some(encoding) => encoding.output_encoding(),
            None => return Err(format!("unknown character encoding {label:?}; save it as UTF-8")),
        },
    };
    let (text, _, has_errors) = encoding.decode(bytes);
    let invalid = text.chars().filter(|&char| char == char::REPLACEMENT_CHARACTER).count();
    if has_errors && 100 * invalid > MAX_INVALID_PERCENT * text.chars().count() {
        let source = if declared.is_some() { "declared" } else { "no encoding is declared" };
        return Err(format!("the file is not {} ({source}); save it as UTF-8", encoding.name()));
    }
    Ok(text.into_owned())
}

/// Returns the value of the first `charset=` in a `<meta>` tag or of `encoding=` in an XML
/// declaration.
fn declared_label(head: &str) -> Option<String> {
    let lower = head.to_ascii_lowercase();
    let is_xml = lower.trim_start_matches('\u{feff}').trim_start().starts_with("<?xml");
    let xml = is_xml.then(|| lower.split("?>").next().and_then(|xml| value_of(xml, "encoding")));
    let meta = || {
        let tags = lower.match_indices("<meta").map(|(start, _)| {
            let tag = &lower[start..];
            &tag[..tag.find('>').unwrap_or(tag.len())] // the tag may be cut at the end of the head
        });
        tags.filter_map(|tag| value_of(tag, "charset")).next()
    };
    xml.flatten().or_else(meta)
}

fn value_of(tag: &str, name: &str) -> Option<String> {
    let (_, value) = tag.split_once(name)?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let value = value.trim_start_matches(['"', '\'']);
    let is_end = |char: char| char.is_whitespace() || "\"';/>?".contains(char);
    let value = value.split(is_end).next()?;
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn html_has_the_declared_encoding() {
        let latin =
            b"<meta http-equiv=content-type content='text/html; charset=iso-8859-1'>S\xfcden";
        assert!(decode_html(latin).unwrap().ends_with("Süden"));
        let xml = b"<?xml version=\"1.0\" encoding=\"GBK\"?><p>\xc0\xfb\xc2\xed</p>";
        assert!(decode_html(xml).unwrap().contains("利马"));
        assert_eq!(decode_html("Süden".as_bytes()).unwrap(), "Süden");
        assert_eq!(decode_html(b"\xff\xfeL\0i\0").unwrap(), "Li");
        let error = decode_html(b"S\xfcden").unwrap_err();
        assert!(error.contains("not UTF-8 (no encoding is declared)"), "{error}");
        assert!(decode_html(b"<meta charset=klingon>").unwrap_err().contains("\"klingon\""));
    }
}
