//! Sentences with links in double brackets, as in Wikipedia's source.
use std::path::{Path, PathBuf};

use crate::entity_linking::{JoinedText, LinkedText, Mention, Sitelinks};
use crate::input::Lines;
use crate::{Error, Language};

/// Prefixes of links that are no mentions and vanish with their text.
const REMOVED: [&str; 3] = ["category", "file", "image"];

/// Reads a text file with one sentence per line and mentions as `[[title]]` or `[[title|text]]`.
///
/// A table of sitelinks maps titles to entities: as written, with a capital first letter, or with
/// capitals at all words. An unknown title becomes the entity `title:` and the title, which has no
/// label and is never switched.
///
/// Links to categories, files and images are removed, and so is `[[]]`; `[[title|]]` becomes the
/// title. Lines with table markup are skipped.
pub struct MarkedReader<'s> {
    lines: Lines,
    path: PathBuf,
    language: Language,
    sitelinks: &'s Sitelinks,
    tables: usize,
}

impl<'s> MarkedReader<'s> {
    /// Opens a file in `language`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened.
    pub fn open(
        path: impl AsRef<Path>,
        language: Language,
        sitelinks: &'s Sitelinks,
    ) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let lines = Lines::open(&path)?.note_missing_newline();
        Ok(Self { lines, path, language, sitelinks, tables: 0 })
    }

    /// Lines with the markup of tables so far.
    pub fn tables(&self) -> usize {
        self.tables
    }

    fn read(&mut self) -> Result<Option<LinkedText>, Error> {
        while self.lines.advance()? {
            let line = std::str::from_utf8(self.lines.bytes()).map_err(|_| Error::Row {
                path: self.path.clone(),
                line: self.lines.number(),
                column: "text",
                expected: "valid UTF-8".into(),
                got: "other bytes".into(),
            })?;
            if is_table(line) {
                self.tables += 1;
                continue;
            }
            let (text, links) = without_brackets(line);
            if text.trim().is_empty() {
                continue;
            }
            let mention = |Link { start, end, title }| {
                let entity = self.entity(&title);
                Mention { start, end, entity }
            };
            return Ok(Some(LinkedText {
                id: format!("{}:{}", self.language, self.lines.number()),
                language: self.language,
                entity: None,
                text,
                mentions: links.into_iter().map(mention).collect(),
                switched_from: None,
            }));
        }
        Ok(None)
    }

    fn entity(&self, title: &str) -> String {
        let known = |title: &str| self.sitelinks.entity(self.language, title).map(str::to_owned);
        known(title)
            .or_else(|| known(&title_case(title)))
            .unwrap_or_else(|| format!("title:{title}"))
    }
}

impl Iterator for MarkedReader<'_> {
    type Item = Result<LinkedText, Error>;

    /// The next sentence; its id is the language and the line, as in `en:25`.
    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn is_table(line: &str) -> bool {
    line.contains("{|") || line.contains("|}") || line.trim_start().starts_with(['|', '!'])
}

fn title_case(title: &str) -> String {
    let mut inside = false;
    let mut cased = String::with_capacity(title.len());
    for letter in title.chars() {
        match inside {
            true => cased.extend(letter.to_lowercase()),
            false => cased.extend(letter.to_uppercase()),
        }
        inside = letter.is_alphabetic();
    }
    cased
}

/// A link in code points of the text without brackets.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    start: usize,
    end: usize,
    title: String,
}

/// The text without brackets, and its links. Of links inside a link the text remains.
fn without_brackets(marked: &str) -> (String, Vec<Link>) {
    let mut text = JoinedText::default();
    let mut links = Vec::new();
    let mut rest = marked;
    while let Some((before, inside)) = rest.split_once("[[") {
        text.push(before);
        let Some((body, after)) = closed(inside) else {
            // Brackets that are never closed are no link.
            rest = inside;
            continue;
        };
        rest = after;
        let (title, shown) = body.split_once('|').map_or((body, None), |(a, b)| (a, Some(b)));
        let title = title.trim();
        let space = title.trim_start_matches(':').split_once(':').map_or("", |(space, _)| space);
        if !title.starts_with(':') && REMOVED.contains(&space.trim().to_lowercase().as_str()) {
            continue;
        }
        let title = title.trim_start_matches(':');
        let shown = shown.filter(|shown| !shown.trim().is_empty()).unwrap_or(title);
        let (shown, _) = without_brackets(shown);
        let (start, end) = text.push_trimmed(&shown);
        let title = title.split('#').next().unwrap_or_default().trim();
        if start < end && !title.is_empty() {
            links.push(Link { start, end, title: title.to_owned() });
        }
    }
    text.push(rest);
    (text.text, links)
}

/// What stands before the `]]` that closes a link, and after it.
fn closed(inside: &str) -> Option<(&str, &str)> {
    let (mut depth, mut at) = (1_usize, 0);
    while let Some(rest) = inside.get(at..) {
        let (open, close) = (rest.find("[["), rest.find("]]")?);
        match open.filter(|open| *open < close) {
            Some(open) => {
                depth += 1;
                at += open + 2;
            }
            None if depth == 1 => {
                let (body, after) = rest.split_at(close);
                let body = inside.get(..at + body.len())?;
                return Some((body, after.get(2..)?));
            }
            None => {
                depth -= 1;
                at += close + 2;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(marked: &str) -> (String, Vec<(String, String)>) {
        let (text, links) = without_brackets(marked);
        let links = links.into_iter().map(|Link { start, end, title }| {
            (text.chars().skip(start).take(end - start).collect(), title)
        });
        let links = links.collect();
        (text, links)
    }

    fn check(marked: &str, text: &str, links: &[(&str, &str)]) {
        let (found, pairs) = parsed(marked);
        let pairs: Vec<(&str, &str)> =
            pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!((found.as_str(), pairs.as_slice()), (text, links), "{marked}");
    }

    #[test]
    fn links_in_brackets_are_read() {
        check("In [[Bern]].", "In Bern.", &[("Bern", "Bern")]);
        check("die [[Bern|Stadt ß]] da", "die Stadt ß da", &[("Stadt ß", "Bern")]);
        check("[[Bern|]] x", "Bern x", &[("Bern", "Bern")]);
        check("a [[]] b [[|]] c", "a  b  c", &[]);
        check("[[|only text]]", "only text", &[]);
        check(
            "[[Bern#History|then]] [[:Category:X|y]]",
            "then y",
            &[("then", "Bern"), ("y", "Category:X")],
        );
        check("[[File:a.png|thumb|at [[Bern]] ]]after", "after", &[]);
        check("[[ category : Cities ]]x[[Image:b]]", "x", &[]);
        check("[[Bern|a [[Aare]] b]] c", "a Aare b c", &[("a Aare b", "Bern")]);
        check("open [[Bern and [[Aare]]", "open Bern and Aare", &[("Aare", "Aare")]);
        check("closed ]] [[Aare|b|c]]", "closed ]] b|c", &[("b|c", "Aare")]);
        check("[[A| b ]]", " b ", &[("b", "A")]);
    }

    #[test]
    fn titles_get_capitals() {
        assert_eq!(title_case("lake geneva (north-east)"), "Lake Geneva (North-East)");
        assert!(is_table("{| class") && is_table(" | a || b") && !is_table("a | b"));
    }
}
