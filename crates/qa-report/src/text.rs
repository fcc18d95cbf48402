//! Escapes input text for pages, figures and tables, so that it is never parsed as markup and
//! invisible control characters become visible.
use std::fmt::Write;

/// Returns whether a character invisibly changes the surrounding text: control characters, the line
/// and paragraph separators, and characters that embed, override or isolate a text direction.
/// Directional marks and joiners are excluded, because words in Arabic, Hebrew and Indic scripts
/// contain them.
pub(crate) fn is_invisible_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// Converts a text to one line: line ends and tabs become spaces, and characters of
/// [`is_invisible_control`] are escaped, such as `\u{202e}`.
pub(crate) fn make_visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if is_invisible_control(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Applies [`make_visible`] and escapes the text for HTML and SVG elements and quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let text = make_visible(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// Applies [`make_visible`] and escapes the text for Markdown lines and table cells.
pub(crate) fn escape_markdown(text: &str) -> String {
    make_visible(text).replace('<', "&lt;").replace('|', "\\|")
}

/// Escapes single-line JSON for use inside a `<script>` element: the result cannot end the element,
/// begin a comment or contain invisible control characters.
pub(crate) fn escape_script_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // These characters occur only in JSON strings, where an escape is equivalent.
            c if is_invisible_control(c) || matches!(c, '<' | '>' | '&') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

/// Converts a text to a non-empty part of a file name with letters, digits, `.`, `_` and `-`.
pub(crate) fn file_name(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
            true => out.push(c.to_ascii_lowercase()),
            false if !out.ends_with('-') => out.push('-'),
            false => {}
        }
    }
    let out = out.trim_matches(['-', '.']);
    if out.is_empty() { "run".to_owned() } else { out.to_owned() }
}

/// Formats a count with thousands separators, such as `11,590`.
pub(crate) fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats a count with its unit: `1 run`, `2 runs`.
pub(crate) fn with_unit(count: usize, singular: &str, plural: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { singular } else { plural })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_invisible_characters_are_escaped() {
        let hostile = "</script><img src=x onerror='a\"&'>\u{202e}\u{1b}[2J\n\u{2066}";
        let escaped = "&lt;/script&gt;&lt;img src=x onerror=&#39;a&quot;&amp;&#39;&gt;\\u{202e}\
                     \\u{1b}[2J \\u{2066}";
        assert_eq!(escape(hostile), escaped);
        // Joiners and directional marks are parts of words, so they are not escaped.
        assert_eq!(
            make_visible("می\u{200c}روم क्\u{200d}ष \u{200f}"),
            "می\u{200c}روم क्\u{200d}ष \u{200f}"
        );
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let texts = ["</script><!--", "a & b > c", "\u{2028}\u{2029}\u{9f}", "\u{0}\u{202e}é\"\\"];
        let json = serde_json::to_string(&texts).unwrap();
        let escaped = escape_script_json(&json);
        assert!(!escaped.contains(['<', '>', '&', '\u{2028}', '\u{9f}', '\u{202e}']), "{escaped}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).unwrap(), texts);
    }

    #[test]
    fn file_names_are_safe_and_counts_have_separators() {
        assert_eq!(file_name("Über/../a b"), "ber-..-a-b");
        assert_eq!((file_name("../"), file_name("نص")), ("run".into(), "run".into()));
        assert_eq!([0, 999, 1190, 1_234_567].map(thousands), ["0", "999", "1,190", "1,234,567"]);
    }
}
