//! Text and its translations from the pages of Debian packages: LibreOffice's help, GNOME's help
//! and the Debian handbook.
mod layout;
mod markup;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kg_triples::jsonl::{JsonlReader, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stand_in::{Files, StandIn, line};

use layout::Layout;
pub use markup::MarkedSpan;

/// A paragraph of a page, a line of `<lang>.jsonl.gz`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Paragraph {
    /// The page, `#`, and the paragraph in it: translations have the same id.
    pub id: String,
    /// The language's code.
    pub language: String,
    /// The package and its version.
    pub source: String,
    /// The SPDX name of the text's licence.
    pub licence: String,
    /// Without markup.
    pub text: String,
    /// What is marked in the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<MarkedSpan>,
}

impl Paragraph {
    /// The page that it stands on.
    pub fn page(&self) -> &str {
        self.id.split_once('#').map_or(&self.id, |(page, _)| page)
    }
}

impl Record for Paragraph {
    const NAME: &'static str = "paragraph";

    /// Spans that leave the text.
    fn fault(&self) -> Option<String> {
        let length = self.text.chars().count();
        let wrong = |span: &&MarkedSpan| span.start >= span.end || span.end > length;
        self.spans.iter().find(wrong).map(|span| format!("{span:?} in {length} code points"))
    }
}

/// The paragraphs of a language in a prepared folder; none where it has no file.
///
/// # Errors
/// Naming the file and the line that cannot be read.
pub fn read(folder: &Path, language: &str) -> Result<Vec<Paragraph>> {
    let path = folder.join(format!("{language}.jsonl.gz"));
    if !path.exists() {
        return Ok(Vec::new());
    }
    Ok(JsonlReader::open(&path)?.collect::<Result<_, _>>()?)
}

/// Where the packages lie.
#[derive(Clone, Debug, clap::Args)]
pub struct Documents {
    /// Folder with what is in each package, <package>_<version>.tar
    #[arg(long, value_name = "DIR")]
    pub packages: PathBuf,
}

/// Of one kind of package in one language.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Counts {
    /// Pages with a paragraph.
    documents: usize,
    paragraphs: usize,
    characters: usize,
    /// Paragraphs that are left out: most of them stands there in English.
    untranslated: usize,
}

/// Paragraphs by page and language.
type Pages = BTreeMap<String, BTreeMap<&'static str, Vec<markup::Paragraph>>>;

/// The file of a package, and its name and version.
type Package = (PathBuf, String);

/// The lines of a language's file.
type Lines = BTreeMap<&'static str, String>;

impl StandIn for Documents {
    const COMMAND: &'static str = "demo-data documents";

    fn seed(&self) -> Option<u64> {
        None
    }

    /// `<lang>.jsonl.gz`: a [`Paragraph`] a line, by kind of package, page and place in it.
    fn make(&self) -> Result<(Files, Value)> {
        let mut lines = Lines::new();
        let mut counts = BTreeMap::new();
        for (layout, tars) in self.tars()?.into_values() {
            let mut pages = Pages::new();
            let mut sources = BTreeMap::new();
            for (path, source) in &tars {
                let read = read_package(path, &layout, &mut pages);
                let languages = read.with_context(|| path.display().to_string())?;
                ensure!(!languages.is_empty(), "{}: no page in it", path.display());
                sources.extend(languages.into_iter().map(|language| (language, source.as_str())));
            }
            let tells = "which tells what is translated";
            let folder = self.packages.display();
            let name = layout.name;
            ensure!(sources.contains_key("en"), "{folder}: no English page of {name}, {tells}");
            counts.insert(name, write(&layout, &pages, &sources, &mut lines)?);
        }
        let file = |(language, lines)| (format!("{language}.jsonl.gz"), lines);
        Ok((lines.into_iter().map(file).collect(), serde_json::to_value(counts)?))
    }
}

impl Documents {
    /// The packages of each layout, each with its name and version.
    fn tars(&self) -> Result<BTreeMap<usize, (Layout, Vec<Package>)>> {
        let folder = || self.packages.display().to_string();
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.packages).with_context(folder)? {
            paths.push(entry.with_context(folder)?.path());
        }
        paths.sort();
        let mut all = BTreeMap::new();
        for path in
            paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "tar"))
        {
            let name = path.file_stem().and_then(|stem| stem.to_str()?.split_once('_'));
            let (package, version) = name.with_context(|| {
                format!("{}: not called <package>_<version>.tar", path.display())
            })?;
            let (place, layout) = Layout::of(package).with_context(|| {
                format!("{}: pages of a kind that is not known", path.display())
            })?;
            let source = format!("{package} {version}");
            all.entry(place).or_insert((layout, Vec::new())).1.push((path, source));
        }
        ensure!(!all.is_empty(), "{}: no <package>_<version>.tar in it", folder());
        Ok(all)
    }
}

/// Adds the pages of a package; returns their languages.
fn read_package(path: &Path, layout: &Layout, pages: &mut Pages) -> Result<BTreeSet<&'static str>> {
    let mut archive = tar::Archive::new(whole_file::open(path)?);
    let mut languages = BTreeSet::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        let found = name.to_str().and_then(|name| layout.page(name));
        let Some((language, page)) = found.filter(|_| entry.header().entry_type().is_file()) else {
            continue;
        };
        let mut text = String::new();
        entry.read_to_string(&mut text).with_context(|| name.display().to_string())?;
        let paragraphs = markup::paragraphs(&text, layout.role);
        let paragraphs = paragraphs.with_context(|| name.display().to_string())?;
        pages.entry(page.to_owned()).or_default().insert(language, paragraphs);
        languages.insert(language);
    }
    Ok(languages)
}

/// Adds the lines of what is translated.
fn write(
    layout: &Layout,
    pages: &Pages,
    sources: &BTreeMap<&str, &str>,
    lines: &mut Lines,
) -> Result<BTreeMap<&'static str, Counts>> {
    let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
    let mut met = BTreeSet::new();
    for (page, translations) in pages {
        // Of a paragraph that comes again, on this page or another, the first stays.
        let mut english = BTreeMap::new();
        for markup::Paragraph { id, text, .. } in translations.get("en").into_iter().flatten() {
            if !layout.repeats || met.insert((id, text)) {
                english.entry(id).or_insert(text);
            }
        }
        for (&language, paragraphs) in translations {
            let count = counts.entry(language).or_default();
            let before = count.paragraphs;
            let mut seen = BTreeSet::new();
            for markup::Paragraph { id, text, spans } in paragraphs {
                let Some(original) = english.get(id).filter(|_| seen.insert(id)) else { continue };
                if language != "en" && untranslated(original, text) {
                    count.untranslated += 1;
                    continue;
                }
                count.paragraphs += 1;
                count.characters += text.chars().count();
                let row = Paragraph {
                    id: format!("{}/{page}#{id}", layout.name),
                    language: language.to_owned(),
                    source: sources.get(language).copied().unwrap_or_default().to_owned(),
                    licence: layout.licence.to_owned(),
                    text: text.clone(),
                    spans: spans.clone(),
                };
                *lines.entry(language).or_default() += &line(&row)?;
            }
            count.documents += usize::from(count.paragraphs > before);
        }
    }
    Ok(counts)
}

/// Whether the words that the English original has too are more than half of the text, counted in
/// code points without white space.
fn untranslated(original: &str, text: &str) -> bool {
    let known: BTreeSet<&str> = original.split_whitespace().collect();
    let (mut all, mut english) = (0, 0);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        all += length;
        english += if known.contains(word) { length } else { 0 };
    }
    2 * english > all
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "./usr/share/libreoffice/help";

    /// Writes the tar of a package.
    fn package(folder: &Path, name: &str, pages: &[(String, &str)]) -> PathBuf {
        let path = folder.join(name);
        let mut tar = tar::Builder::new(std::fs::File::create(&path).unwrap());
        for (page, text) in pages {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, page, text.as_bytes()).unwrap();
        }
        tar.finish().unwrap();
        path
    }

    fn help(folder: &Path) -> [PathBuf; 2] {
        let english = "<p id=\"par_id1\">Choose <span class=\"emph\">Edit</span> now.</p>\
                       <p id=\"par_id2\">Only here.</p><p class=\"code\" id=\"par_id3\">x = 1</p>";
        let german = "<h1 id=\"par_id1\">W\u{e4}hlen Sie <span hidden=\"true\" class=\"MAC\">nie</span>\
                      <span class=\"emph\">Bearbeiten</span>.</h1><p id=\"par_id2\">Only here.</p>\
                      <p id=\"par_id9\">Nur hier.</p>";
        [("en-us", "en-US", english), ("de", "de", german)].map(|(package_of, code, text)| {
            let name = format!("libreoffice-help-{package_of}_7.4.tar");
            // Both pages are put together from one text.
            let pages = ["a", "b"].map(|page| (format!("{HELP}/{code}/text/{page}.html"), text));
            package(folder, &name, &pages)
        })
    }

    fn make(folder: &Path) -> Result<(Files, Value)> {
        Documents { packages: folder.to_owned() }.make()
    }

    #[test]
    fn translations_have_the_ids_of_the_original() {
        let folder = tempfile::tempdir().unwrap();
        help(folder.path());
        let (files, counts) = make(folder.path()).unwrap();
        let of_german = &counts["libreoffice-help"]["de"];
        let expected = serde_json::json!(
            { "documents": 1, "paragraphs": 1, "characters": 22, "untranslated": 1 }
        );
        assert_eq!(of_german, &expected);
        let rows = |name: &str| -> Vec<Paragraph> {
            let (_, lines) = files.iter().find(|(file, _)| file == name).unwrap();
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let [english, german] = ["en.jsonl.gz", "de.jsonl.gz"].map(rows);
        assert_eq!(english.len(), 2);
        assert_eq!(
            (english[0].id.as_str(), &english[0].id),
            ("libreoffice-help/a#par_id1", &german[0].id)
        );
        assert_eq!(
            (german[0].page(), german[0].text.as_str()),
            ("libreoffice-help/a", "W\u{e4}hlen Sie Bearbeiten.")
        );
        assert_eq!((german[0].spans[0].start, german[0].spans[0].end), (11, 21));
        assert_eq!(
            (german[0].source.as_str(), german[0].licence.as_str()),
            ("libreoffice-help-de 7.4", "MPL-2.0")
        );
    }

    #[test]
    fn packages_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let refuse = || format!("{:#}", make(folder.path()).unwrap_err());
        assert!(refuse().contains("no <package>_<version>.tar"));
        let [_, german] = help(folder.path());
        let whole = std::fs::read(&german).unwrap();
        std::fs::write(&german, &whole[..700]).unwrap();
        assert!(refuse().contains("libreoffice-help-de_7.4.tar: "), "{}", refuse());
        let broken = [(format!("{HELP}/de/text/a.html"), "<p id=\"par_id1\">Bear")];
        package(folder.path(), "libreoffice-help-de_7.4.tar", &broken);
        let error = refuse();
        let place = "libreoffice-help-de_7.4.tar: usr/share/libreoffice/help/de/text/a.html: ";
        assert!(
            error.contains(place) || error.contains(&place.replace(": usr", ": ./usr")),
            "{error}"
        );
        package(folder.path(), "libreoffice-help-de_7.4.tar", &[]);
        assert!(refuse().contains("libreoffice-help-de_7.4.tar: no page in it"));
        package(folder.path(), "other_1.tar", &[]);
        assert!(refuse().contains("other_1.tar: pages of a kind that is not known"));
        std::fs::remove_file(folder.path().join("other_1.tar")).unwrap();
        std::fs::remove_file(folder.path().join("libreoffice-help-en-us_7.4.tar")).unwrap();
        help(folder.path());
        std::fs::remove_file(folder.path().join("libreoffice-help-en-us_7.4.tar")).unwrap();
        assert!(refuse().contains("no English page of libreoffice-help"));
    }
}
