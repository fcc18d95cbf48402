//! The paragraphs of one page in HTML, XHTML or Mallard, as plain text with the spans that are
//! marked in it.
use anyhow::{Context, Result, bail};
use quick_xml::Reader;
use quick_xml::escape::resolve_html5_entity;
use quick_xml::events::{BytesStart, Event};
use serde::{Deserialize, Serialize};

/// A marked part of a paragraph, in code points of its text: `[start, end)`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MarkedSpan {
    /// How it is marked, such as `menuitem`.
    pub kind: String,
    /// The first code point.
    pub start: usize,
    /// Behind the last one.
    pub end: usize,
}

/// One paragraph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paragraph {
    /// The page's own name for it, or its number among those of the page.
    pub id: String,
    /// Runs of white space are one space; none at the ends.
    pub text: String,
    /// By their start; none is empty.
    pub spans: Vec<MarkedSpan>,
}

/// What an element is.
pub enum Role {
    /// A paragraph, with the page's own name for it where it has one.
    Paragraph(Option<String>),
    /// A part of the paragraph around it that is marked in this way.
    Marked(String),
    /// Nothing in it is read.
    Skipped,
    /// Its text is read.
    Plain,
}

/// An element, as the rules of a kind of page see it.
pub struct Element<'a> {
    /// Its name.
    pub name: &'a str,
    start: &'a BytesStart<'a>,
}

impl Element<'_> {
    /// An attribute's value as it is written; `""` where it is absent.
    pub fn get(&self, name: &str) -> String {
        let mut attributes = self.start.html_attributes();
        let found = attributes.with_checks(false).flatten().find(|one| one.key.0 == name);
        found.map_or(String::new(), |one| one.value.into_owned())
    }
}

/// Elements of HTML's texts that have no end tag.
const VOID: [&str; 4] = ["br", "hr", "img", "input"];

/// The paragraphs of a page, in the order of their beginnings; those inside another are apart from
/// it, those without text are left out.
///
/// # Errors
/// With the place, if the markup cannot be read or ends inside a paragraph.
pub fn paragraphs(page: &str, role: impl Fn(&Element<'_>) -> Role) -> Result<Vec<Paragraph>> {
    let mut reader = Reader::from_str(page);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut open = Open::default();
    loop {
        let event = reader.read_event();
        match event.with_context(|| format!("byte {}", reader.error_position()))? {
            Event::Start(start) => match start.name().0 {
                name if VOID.contains(&name) => open.text(" "),
                name => open.start(name, role(&Element { name, start: &start })),
            },
            Event::Empty(_) => open.text(" "),
            Event::End(end) => open.end(end.name().0),
            Event::Text(text) => open.text(&text),
            Event::CData(text) => open.text(&text),
            Event::GeneralRef(name) => match name.resolve_char_ref()? {
                Some(character) => open.text(character.encode_utf8(&mut [0; 4])),
                None => match resolve_html5_entity(&name) {
                    Some(text) => open.text(text),
                    None => bail!("byte {}: an unknown entity", reader.buffer_position()),
                },
            },
            Event::Eof if open.paragraph().is_some() => bail!("it ends inside a paragraph"),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    let all = open.all.into_iter().map(Growing::finish);
    Ok(all.filter(|paragraph| !paragraph.text.is_empty()).collect())
}

/// The elements that are open, and the paragraphs so far.
#[derive(Default)]
struct Open {
    /// Names of the open elements, and what each is.
    elements: Vec<(String, Kind)>,
    /// All paragraphs, the open ones too.
    all: Vec<Growing>,
}

/// What an open element is.
enum Kind {
    /// The paragraph of this number.
    Paragraph(usize),
    /// The span of this number in the paragraph around it.
    Marked {
        paragraph: usize,
        span: usize,
    },
    Skipped,
    Plain,
}

/// A paragraph that is read.
#[derive(Default)]
struct Growing {
    id: String,
    text: String,
    /// Code points of the text.
    length: usize,
    /// White space came after the text.
    space: bool,
    /// With the start where the span has text; the end is set when it closes.
    spans: Vec<(String, Option<usize>, usize)>,
    /// Spans that are open.
    marked: Vec<usize>,
}

impl Growing {
    fn push(&mut self, text: &str) {
        for character in text.chars() {
            if character.is_whitespace() {
                self.space = self.length > 0;
                continue;
            }
            if std::mem::take(&mut self.space) {
                self.text.push(' ');
                self.length += 1;
            }
            for &span in &self.marked {
                if let Some((_, start, _)) = self.spans.get_mut(span) {
                    start.get_or_insert(self.length);
                }
            }
            self.text.push(character);
            self.length += 1;
        }
    }

    fn finish(self) -> Paragraph {
        let span = |(kind, start, end)| Some(MarkedSpan { kind, start: start?, end });
        let mut spans: Vec<MarkedSpan> = self.spans.into_iter().filter_map(span).collect();
        spans.sort_by_key(|span| span.start);
        Paragraph { id: self.id, text: self.text, spans }
    }
}

impl Open {
    fn skips(&self) -> bool {
        self.elements.iter().any(|(_, kind)| matches!(kind, Kind::Skipped))
    }

    /// The number of the innermost open paragraph.
    fn paragraph(&self) -> Option<usize> {
        let mut inner = self.elements.iter().rev();
        inner.find_map(
            |(_, kind)| if let Kind::Paragraph(number) = kind { Some(*number) } else { None },
        )
    }

    fn start(&mut self, name: &str, role: Role) {
        let kind = match (role, self.paragraph()) {
            (Role::Skipped, _) => Kind::Skipped,
            (Role::Paragraph(id), _) if !self.skips() => {
                let id = id.unwrap_or_else(|| self.all.len().to_string());
                self.all.push(Growing { id, ..Growing::default() });
                Kind::Paragraph(self.all.len() - 1)
            }
            (Role::Marked(kind), Some(paragraph)) => match self.all.get_mut(paragraph) {
                Some(growing) => {
                    let span = growing.spans.len();
                    growing.spans.push((kind, None, 0));
                    growing.marked.push(span);
                    Kind::Marked { paragraph, span }
                }
                None => Kind::Plain,
            },
            _ => Kind::Plain,
        };
        self.elements.push((name.to_owned(), kind));
    }

    /// Closes the innermost element of this name with what is open in it; nothing where none is.
    fn end(&mut self, name: &str) {
        let Some(last) = self.elements.iter().rposition(|(open, _)| open == name) else { return };
        for (_, kind) in self.elements.drain(last..) {
            let Kind::Marked { paragraph, span } = kind else { continue };
            if let Some(growing) = self.all.get_mut(paragraph) {
                growing.marked.retain(|open| *open != span);
                if let Some((_, _, end)) = growing.spans.get_mut(span) {
                    *end = growing.length;
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        if self.skips() {
            return;
        }
        let paragraph = self.paragraph();
        if let Some(growing) = paragraph.and_then(|number| self.all.get_mut(number)) {
            growing.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(page: &str) -> Result<Vec<Paragraph>> {
        paragraphs(page, |element| match element.name {
            "p" => Role::Paragraph(Some(element.get("id")).filter(|id| !id.is_empty())),
            "b" => Role::Marked("bold".into()),
            "script" => Role::Skipped,
            _ => Role::Plain,
        })
    }

    #[test]
    fn text_is_joined_and_spans_are_counted_in_code_points() {
        let page = "<html><meta a=1><p id=\"x\">Gr\u{fc}\u{df}e <b> an&nbsp;\n das </b>&#x4e16;<br>Ende &amp;<script>\
                    if (a) {}</script></p>out<p><b></b></p></html>";
        let all = read(page).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].id.as_str(), all[0].text.as_str()), ("x", "Grüße an das 世 Ende &"));
        assert_eq!(all[0].spans, [MarkedSpan { kind: "bold".into(), start: 6, end: 12 }]);
    }

    #[test]
    fn paragraphs_inside_others_are_apart_and_numbered_in_order() {
        let all = read("<p>one <p>two</p> three</p><p/><p>four</p>").unwrap();
        let all: Vec<_> = all.iter().map(|one| (one.id.as_str(), one.text.as_str())).collect();
        assert_eq!(all, [("0", "one three"), ("1", "two"), ("2", "four")]);
    }

    #[test]
    fn pages_that_are_cut_off_are_refused() {
        for (page, piece) in [
            ("<p>one", "ends inside a paragraph"),
            ("<p>one</", "byte"),
            ("<p>&nothing;</p>", "byte 12: an unknown entity"),
        ] {
            let error = read(page).unwrap_err().to_string();
            assert!(error.contains(piece), "{page}: {error}");
        }
    }
}
