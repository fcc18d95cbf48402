use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::{JoinedText, LinkedText, Mention};
use crate::jsonl::{JsonlReader, Record};
use crate::table::for_each_row;
use crate::wikidata::site_of;
use crate::{Error, Language};

/// A map from titles of Wikipedia pages to entities.
///
/// Titles are normalised as in MediaWiki before they are compared: underscores become spaces, and
/// the first letter becomes upper case. All codes of a Wikipedia are equal: `nb` and `no`, `yue` and
/// `zh-yue`.
#[derive(Clone, Debug, Default)]
pub struct Sitelinks {
    entities: HashMap<Language, HashMap<Box<str>, Box<str>>>,
}

impl Sitelinks {
    /// Reads a TSV file with the header `id lang title`, which may be compressed with gzip. An id
    /// may have several titles, for example those of redirects.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Header`]; [`Error::Row`] with file, line and column for a wrong
    /// number of cells, an invalid language, an empty cell, invalid UTF-8, or a title with two ids.
    ///
    /// ```
    /// use kg_triples::Language;
    /// use kg_triples::entity_linking::Sitelinks;
    /// # let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("sitelinks.tsv");
    /// std::fs::write(&path, "id\tlang\ttitle\nQ70\tde\tBern\nQ70\tde\tStadt_Bern\n").unwrap();
    /// let sitelinks = Sitelinks::read(&path)?;
    /// assert_eq!(sitelinks.entity(Language::new("de")?, "stadt Bern"), Some("Q70"));
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let mut sitelinks = Self::default();
        for_each_row(path.as_ref(), &[&["id", "lang", "title"]], |row| match *row {
            [id, language, title] => sitelinks.add(id, Language::new(language)?, title),
            _ => Ok(()),
        })?;
        Ok(sitelinks)
    }

    /// Adds a title.
    ///
    /// # Errors
    /// [`Error::Value`] if the id or title is empty, or if the title already has another id.
    pub fn add(&mut self, id: &str, language: Language, title: &str) -> Result<(), Error> {
        let normalised = normalise_title(title);
        for (field, text) in [("id", id.trim()), ("title", normalised.as_str())] {
            if text.is_empty() {
                let (expected, got) = ("some text".into(), "an empty cell".into());
                return Err(Error::Value { field, expected, got });
            }
        }
        match self.entities.entry(site_of(language)).or_default().entry(normalised.into()) {
            Entry::Vacant(entry) => {
                entry.insert(id.into());
            }
            Entry::Occupied(known) if **known.get() != *id => {
                return Err(Error::Value {
                    field: "title",
                    expected: format!(
                        "one id for title {title:?} in language {language:?}, which has {:?} already",
                        known.get()
                    ),
                    got: format!("{id:?}"),
                });
            }
            Entry::Occupied(_) => {}
        }
        Ok(())
    }

    /// Returns the entity of a page.
    pub fn entity(&self, language: Language, title: &str) -> Option<&str> {
        Some(self.entities.get(&site_of(language))?.get(normalise_title(title).as_str())?)
    }

    /// Whether there are titles in a language.
    pub fn has_language(&self, language: Language) -> bool {
        self.entities.contains_key(&site_of(language))
    }

    /// Returns the site codes of the languages that have titles, sorted.
    pub fn languages(&self) -> Vec<Language> {
        let mut languages: Vec<Language> = self.entities.keys().copied().collect();
        languages.sort_unstable();
        languages
    }
}

fn normalise_title(title: &str) -> String {
    let with_spaces = title.replace('_', " ");
    let mut words = with_spaces.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(first) = words.chars().next() {
        let capital: String = first.to_uppercase().collect();
        // MediaWiki does not capitalise a letter if its upper-case form has several letters, such
        // as ß.
        if capital.chars().count() == 1 {
            words.replace_range(..first.len_utf8(), &capital);
        }
    }
    words
}

/// Reads the output of WikiExtractor with `--links --json`.
///
/// Each line is a page, whose text contains links of the form `<a href="…">anchor</a>` with
/// percent-encoded titles. `<`, `>` and `&` may be escaped, which WikiExtractor does by default. XML
/// escapes in titles and link targets, such as `&quot;`, are decoded: WikiExtractor leaves them as
/// they are in the dump.
///
/// ```
/// use kg_triples::Language;
/// use kg_triples::entity_linking::{Sitelinks, WikiReader};
/// # let folder = tempfile::tempdir().unwrap();
/// let de = Language::new("de")?;
/// let mut sitelinks = Sitelinks::default();
/// sitelinks.add("Q70", de, "Bern")?;
/// let path = folder.path().join("dewiki.jsonl");
/// let page = r#"{"id":"7","title":"Aare","text":"durch <a href=\"Bern\">die Stadt</a>"}"#;
/// std::fs::write(&path, page).unwrap();
/// let mut pages = WikiReader::open(&path, de, &sitelinks)?;
/// let text = pages.next().expect("one page")?;
/// assert_eq!((text.text.as_str(), text.mentions[0].start), ("durch die Stadt", 6));
/// assert_eq!(text.mentions[0].entity, "Q70");
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub struct WikiReader<'s> {
    pages: JsonlReader<WikiPage>,
    language: Language,
    sitelinks: &'s Sitelinks,
    report: WikiReport,
}

/// Counts of the pages and links that a [`WikiReader`] has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WikiReport {
    /// Pages.
    pub pages: usize,
    /// Pages whose title leads to no entity.
    pub pages_without_entity: usize,
    /// Links with an anchor text.
    pub links: usize,
    /// Links whose target leads to no entity. They are no mentions.
    pub links_without_entity: usize,
}

impl WikiReport {
    /// Adds the counts of another reader.
    pub fn add(&mut self, other: &Self) {
        self.pages += other.pages;
        self.pages_without_entity += other.pages_without_entity;
        self.links += other.links;
        self.links_without_entity += other.links_without_entity;
    }
}

/// A page of WikiExtractor. Other keys of the JSON object, such as `revid` and `url`, differ
/// between versions and are ignored.
#[derive(Deserialize)]
struct WikiPage {
    #[serde(deserialize_with = "string_or_number")]
    id: String,
    title: String,
    text: String,
}

impl Record for WikiPage {
    const NAME: &'static str = "page of WikiExtractor";

    fn invalid_reason(&self) -> Option<String> {
        self.id.is_empty().then(|| "an empty id".into())
    }
}

pub(crate) fn string_or_number<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(u64),
    }
    Ok(match Id::deserialize(deserializer)? {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    })
}

impl<'s> WikiReader<'s> {
    /// Opens the file of one language.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened.
    pub fn open(
        path: impl AsRef<Path>,
        language: Language,
        sitelinks: &'s Sitelinks,
    ) -> Result<Self, Error> {
        let pages = JsonlReader::open(path)?;
        Ok(Self { pages, language, sitelinks, report: WikiReport::default() })
    }

    /// Returns the counts of the pages read so far.
    pub fn report(&self) -> WikiReport {
        self.report
    }

    /// Returns the counts of the pages read since the last call.
    pub fn take_report(&mut self) -> WikiReport {
        std::mem::take(&mut self.report)
    }

    fn link_page(&mut self, page: WikiPage) -> LinkedText {
        let entity = |title: &str| {
            // A title contains no escapes: MediaWiki does not allow them.
            self.sitelinks.entity(self.language, &unescape_xml(title)).map(str::to_owned)
        };
        let html = unescape_html(&page.text);
        let (text, anchors) = extract_links(&html);
        let page_entity = entity(&page.title);
        let link_count = anchors.len();
        let mentions = anchors.into_iter().filter_map(|Anchor { start, end, href }| {
            Some(Mention { start, end, entity: entity(&target_title(href))? })
        });
        let mentions: Vec<Mention> = mentions.collect();
        self.report.add(&WikiReport {
            pages: 1,
            pages_without_entity: usize::from(page_entity.is_none()),
            links: link_count,
            links_without_entity: link_count - mentions.len(),
        });
        LinkedText {
            id: format!("{}:{}", self.language, page.id),
            language: self.language,
            entity: page_entity,
            mentions,
            text,
            switched_from: None,
        }
    }
}

impl Iterator for WikiReader<'_> {
    type Item = Result<LinkedText, Error>;

    /// Returns the text of the next page. Its id consists of the language and the page id, as in
    /// `en:25`.
    fn next(&mut self) -> Option<Self::Item> {
        let page = self.pages.next()?;
        Some(page.map(|page| self.link_page(page)))
    }
}

struct Anchor<'t> {
    start: usize,
    end: usize,
    href: &'t str,
}

const LINK_START: &str = "<a href=\"";
const LINK_END: &str = "</a>";

/// Returns the text without link tags, and the links with their offsets in this text in code
/// points.
fn extract_links(html: &str) -> (String, Vec<Anchor<'_>>) {
    let mut text = JoinedText::default();
    let mut anchors = Vec::new();
    let mut remaining = html;
    while let Some((before, tag)) = remaining.split_once(LINK_START) {
        push_without_closing_tags(&mut text, before);
        let Some((href, body)) = tag.split_once("\">") else {
            remaining = tag;
            continue;
        };
        // If another link begins before the closing tag, this link is not used, and only its
        // opening tag is removed.
        let link = body.split_once(LINK_END).filter(|(anchor, _)| !anchor.contains(LINK_START));
        let Some((anchor, after)) = link else {
            remaining = body;
            continue;
        };
        remaining = after;
        let (start, end) = text.push_trimmed(anchor);
        if start < end {
            anchors.push(Anchor { start, end, href });
        }
    }
    push_without_closing_tags(&mut text, remaining);
    (text.text, anchors)
}

/// Appends `part` without closing tags, which have no opening tag in `part`.
fn push_without_closing_tags(text: &mut JoinedText, part: &str) {
    for part in part.split(LINK_END) {
        text.push(part);
    }
}

/// Returns the title of the page to which a link refers: percent-decoded, without the section.
fn target_title(href: &str) -> String {
    let title = percent_decode_str(href).decode_utf8_lossy();
    let title = unescape_xml(&title);
    let title = title.split_once('#').map_or(&*title, |(title, _section)| title);
    title.strip_prefix(':').unwrap_or(title).to_owned()
}

/// Decodes the character references of XML: `&amp;`, `&lt;`, `&gt;`, `&quot;`, `&apos;` and numbers
/// such as `&#039;`. Other text is unchanged.
fn unescape_xml(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let (mut decoded, mut remaining) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = remaining.split_once('&') {
        decoded.push_str(before);
        let reference = after.split_once(';');
        match reference.and_then(|(name, rest)| Some((referenced_char(name)?, rest))) {
            Some((c, rest)) => {
                decoded.push(c);
                remaining = rest;
            }
            None => {
                decoded.push('&');
                remaining = after;
            }
        }
    }
    decoded.push_str(remaining);
    Cow::Owned(decoded)
}

/// Returns the character of a reference without `&` and `;`.
fn referenced_char(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

fn unescape_html(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
