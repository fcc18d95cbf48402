//! Sentence templates for facts and questions.
use std::collections::BTreeMap;
use std::path::Path;

use kg_triples::Language;

const HEADER: &[&str] = &["relation_id", "lang", "kind", "template"];

/// Kind of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TemplateKind {
    /// Statement of a fact, which contains `{head}` and `{tail}` once each.
    Statement,
    /// Question whose answer is the tail. It contains `{head}` once and no `{tail}`.
    Question,
}

/// A sentence with placeholders for the labels of head and tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Head,
    Tail,
}

/// A sentence made from a template, with positions in Unicode code points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RenderedSentence {
    pub(super) text: String,
    /// Start of the head's label.
    pub(super) head_start: usize,
    /// Start of the tail's label; 0 for a question.
    pub(super) tail_start: usize,
}

impl Template {
    /// Parses `text` as a template of kind `kind`.
    ///
    /// # Errors
    /// [`kg_triples::Error::Value`] for missing, repeated or unknown placeholders.
    pub fn parse(text: &str, kind: TemplateKind) -> Result<Self, kg_triples::Error> {
        let (n_heads, n_tails) = (text.matches("{head}").count(), text.matches("{tail}").count());
        let expected = match kind {
            TemplateKind::Statement => "`{head}` once and `{tail}` once",
            TemplateKind::Question => "`{head}` once and no `{tail}`",
        };
        let n_expected_tails = usize::from(kind == TemplateKind::Statement);
        let n_braces = text.matches(['{', '}']).count();
        if n_heads != 1 || n_tails != n_expected_tails || n_braces != 2 * (n_heads + n_tails) {
            let got = format!("{text:?}");
            return Err(kg_triples::Error::Value {
                field: "template",
                expected: expected.into(),
                got,
            });
        }
        let mut parts = Vec::new();
        for piece in text.split_inclusive('}') {
            let (text, placeholder) = match piece.split_once('{') {
                Some((text, "head}")) => (text, Some(Part::Head)),
                Some((text, _)) => (text, Some(Part::Tail)),
                None => (piece, None),
            };
            if !text.is_empty() {
                parts.push(Part::Text(text.into()));
            }
            parts.extend(placeholder);
        }
        Ok(Self { parts })
    }

    /// Returns the text of the rendered sentence.
    pub(crate) fn render_text(&self, head: &str, tail: &str) -> String {
        self.render(head, tail).text
    }

    pub(super) fn render(&self, head: &str, tail: &str) -> RenderedSentence {
        let mut rendered = RenderedSentence { text: String::new(), head_start: 0, tail_start: 0 };
        for part in &self.parts {
            let start = rendered.text.chars().count();
            rendered.text.push_str(match part {
                Part::Text(text) => text,
                Part::Head => {
                    rendered.head_start = start;
                    head
                }
                Part::Tail => {
                    rendered.tail_start = start;
                    tail
                }
            });
        }
        rendered
    }
}

/// Templates by relation, language and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateSet {
    templates: BTreeMap<(String, Language, TemplateKind), Vec<Template>>,
}

impl TemplateSet {
    /// Reads a TSV file with the header `relation_id lang kind template`. The kind is `statement`
    /// or `question`.
    ///
    /// Several rows of one relation, language and kind are alternative templates. Lines that begin
    /// with `#` are comments.
    ///
    /// # Errors
    /// [`kg_triples::Error::Io`], [`kg_triples::Error::Header`], and [`kg_triples::Error::Row`]
    /// with file, line and column.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, kg_triples::Error> {
        let path = path.as_ref();
        let text = atomic_file::read_to_string(path)?;
        let is_row = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
        let mut lines = (1u64..).zip(text.lines()).filter(|(_, line)| is_row(line));
        let (line, header) = lines.next().unwrap_or((1, ""));
        if !header.split('\t').eq(HEADER.iter().copied()) {
            return Err(kg_triples::Error::Header {
                path: path.to_owned(),
                line,
                expected: format!("{:?}", HEADER.join("\t")),
                got: format!("{header:?}"),
            });
        }
        let mut set = Self::default();
        for (line, row) in lines {
            let row_error = |column, expected, got| kg_triples::Error::Row {
                path: path.to_owned(),
                line,
                column,
                expected,
                got,
            };
            let cells: Vec<&str> = row.split('\t').collect();
            let [relation, language, kind, template] = cells[..] else {
                let expected = format!("{} ({})", HEADER.len(), HEADER.join(", "));
                return Err(row_error("columns", expected, cells.len().to_string()));
            };
            match set.add(relation, language, kind, template) {
                Err(kg_triples::Error::Value { field, expected, got }) => {
                    return Err(row_error(field, expected, got));
                }
                result => result?,
            }
        }
        Ok(set)
    }

    /// Returns the templates of a relation, language and kind, in file order.
    pub fn get(&self, relation: &str, language: Language, kind: TemplateKind) -> &[Template] {
        let key = (relation.to_owned(), language, kind);
        self.templates.get(&key).map_or(&[], Vec::as_slice)
    }

    fn add(
        &mut self,
        relation: &str,
        lang: &str,
        kind: &str,
        text: &str,
    ) -> Result<(), kg_triples::Error> {
        let value_error = |field, expected: &str, got: &str| kg_triples::Error::Value {
            field,
            expected: expected.into(),
            got: format!("{got:?}"),
        };
        if relation.trim().is_empty() {
            return Err(value_error("relation_id", "the id of a relation", relation));
        }
        let kind = match kind {
            "statement" => TemplateKind::Statement,
            "question" => TemplateKind::Question,
            other => return Err(value_error("kind", "`statement` or `question`", other)),
        };
        let key = (relation.to_owned(), Language::new(lang)?, kind);
        self.templates.entry(key).or_default().push(Template::parse(text, kind)?);
        Ok(())
    }
}
