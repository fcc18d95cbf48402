//! Text of Markdown.
use pulldown_cmark::{Options, Parser, html};

use crate::{Extracted, html as html_reader};

/// Extracts the text of Markdown without its markup. HTML in the text is read as in an HTML file.
pub fn extract(markdown: &str) -> Result<Extracted, String> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;
    let markdown = markdown.strip_prefix('\u{feff}').unwrap_or(markdown);
    let mut page = String::with_capacity(markdown.len() + markdown.len() / 4);
    html::push_html(&mut page, Parser::new_ext(markdown, options));
    html_reader::extract(&page)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn markup_is_removed() {
        let markdown = "\u{feff}---\ntitle: x\n---\n# Lima\n\nLima is *the* [capital](https://x.example \"t\") of \
                        `Peru`[^1].\nIt has **10** million\npeople.\n\n- one\n- two\n\n| City | Built |\n|---|---|\n\
                        | Cuzco | 1100 |\n\n```sh\nls  -l\n```\n\n![A map](map.png)\n\n<!-- no -->\n<div hidden>no</div>\n\n\
                        [^1]: A note.\n";
        let expected = "Lima\n\nLima is the capital of Peru. It has 10 million people.\n\none\ntwo\n\nCity\tBuilt\n\
                        Cuzco\t1100\n\nls  -l\n\nA map\n\n1\n\nA note.";
        assert_eq!(extract(markdown).unwrap().text, expected);
    }

    #[test]
    fn text_without_markup_is_unchanged() {
        for text in ["Lima is in Peru.", "利马在秘鲁。", "2 * 3 < 7 & 5", "a_b_c"] {
            assert_eq!(extract(text).unwrap().text, text);
        }
    }
}
