//! Reading of texts with entity mentions from files of several formats.
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use kg_triples::entity_linking::{
    LabelMatcher, LabelReport, LinkReport, LinkedText, PageText, Sitelinks, WikiReader, WikiReport,
    page_files, read_pages,
};
use kg_triples::jsonl::JsonlReader;
use kg_triples::knowledge::Descriptions;
use kg_triples::{Error, Language, check_unique_languages, for_each_alias};

use crate::{parse_choice, parse_language_file};

/// Options for text sources and entity labels.
#[derive(clap::Args)]
pub struct SourceArgs {
    /// Folder with entities.<lang>.jsonl[.gz], whose lines have id, label, description, extract
    #[arg(long, value_name = "DIR", required_unless_present_any = ["texts", "wiki"])]
    pub entities: Option<PathBuf>,
    /// JSONL files of linked texts, whose lines have id, lang, text, mentions
    #[arg(long, value_name = "FILE,…", value_delimiter = ',', conflicts_with = "wiki")]
    texts: Vec<PathBuf>,
    /// Output file of WikiExtractor for each language; nb and no, yue and zh-yue are the same
    /// Wikipedia
    #[arg(long, value_name = "en=FILE,…", value_delimiter = ',', value_parser = parse_language_file, requires = "sitelinks")]
    wiki: Vec<(Language, PathBuf)>,
    /// TSV file of the page titles of entities: id, lang, title
    #[arg(long, value_name = "FILE", requires = "wiki")]
    sitelinks: Option<PathBuf>,
    /// TSV file of further names of the entities in --entities: id, lang, alias, kind, source. An
    /// alias that equals the label of an entity is not used
    #[arg(long, value_name = "FILE", requires = "entities", conflicts_with_all = ["texts", "wiki"])]
    aliases: Option<PathBuf>,
    /// Languages of passages and descriptions [default: all]
    #[arg(long, value_delimiter = ',', value_name = "LANG,…", value_parser = Language::plausible)]
    languages: Option<Vec<Language>>,
    /// Text of --entities used as description: extract, description or either
    #[arg(long, default_value = "extract", value_parser = parse_choice::<PageText>)]
    page_text: PageText,
}

pub type Texts<'s> = Box<dyn Iterator<Item = Result<LinkedText, Error>> + 's>;

/// The text files of a run, and the method of linking mentions to entities.
pub struct Sources {
    files: Vec<(Option<Language>, PathBuf)>,
    languages: Option<Vec<Language>>,
    pub links: Links,
    /// With [`Links::Labels`], counts of linked mentions in the texts read so far.
    pub link_reports: RefCell<BTreeMap<Language, LinkReport>>,
    /// With [`Links::Titles`], counts of pages and links in the texts read so far.
    pub wiki_reports: RefCell<BTreeMap<Language, WikiReport>>,
}

/// The method by which the mentions in texts are found.
pub enum Links {
    /// The text files contain the mentions.
    InText,
    Titles(Sitelinks),
    Labels(LabelMatcher, PageText),
}

impl Sources {
    /// Creates sources from files. The language of a file is `None` if its texts may be in several
    /// languages.
    pub fn new(
        files: Vec<(Option<Language>, PathBuf)>,
        languages: Option<Vec<Language>>,
        links: Links,
    ) -> Self {
        let (link_reports, wiki_reports) = Default::default();
        Self { files, languages, links, link_reports, wiki_reports }
    }

    fn is_requested(&self, language: Language) -> bool {
        self.languages.as_ref().is_none_or(|requested| requested.contains(&language))
    }

    /// Iterates over the texts of one language, or of all languages if `filter` is `None`.
    pub fn texts(&self, filter: Option<Language>) -> Texts<'_> {
        let is_match = move |language: Language| filter.is_none_or(|required| required == language);
        let files = self.files.iter().filter(move |(language, _)| language.is_none_or(is_match));
        let texts = files.flat_map(|(language, path)| {
            self.open(*language, path).unwrap_or_else(|error| Box::new([Err(error)].into_iter()))
        });
        Box::new(texts.filter(move |text| {
            let language = text.as_ref().map(|text| text.language);
            language.is_ok_and(|language| is_match(language) && self.is_requested(language))
                || text.is_err()
        }))
    }

    fn open(&self, language: Option<Language>, path: &Path) -> Result<Texts<'_>, Error> {
        let texts: Texts<'_> = match (&self.links, language) {
            (Links::Titles(sitelinks), Some(language)) => {
                let mut pages = WikiReader::open(path, language, sitelinks)?;
                Box::new(std::iter::from_fn(move || {
                    let text = pages.next();
                    let mut reports = self.wiki_reports.borrow_mut();
                    reports.entry(language).or_default().add(&pages.take_report());
                    text
                }))
            }
            (Links::Labels(matcher, page_text), Some(language)) => {
                let pages = JsonlReader::<kg_triples::entity_linking::EntityPage>::open(path)?;
                let texts = pages.filter_map(move |page| match page {
                    Ok(page) => page.into_text(language, *page_text).map(Ok),
                    Err(error) => Some(Err(error)),
                });
                Box::new(texts.map(|text| {
                    text.map(|mut text| {
                        matcher.link(&mut text, &mut self.link_reports.borrow_mut());
                        text
                    })
                }))
            }
            _ => Box::new(JsonlReader::<LinkedText>::open(path)?),
        };
        Ok(texts)
    }
}

/// Counts of used and skipped labels by language.
pub type LabelReports = BTreeMap<Language, LabelReport>;

/// Creates the sources of texts, and reads the descriptions of `--entities`. The function also
/// returns counts of labels, which are empty unless labels are used for linking.
pub fn read(args: &SourceArgs) -> Result<(Sources, Descriptions, LabelReports), Error> {
    check_unique_languages("languages", args.languages.iter().flatten())?;
    let mut descriptions = Descriptions::default();
    let mut labels = Vec::new();
    let mut pages = Vec::new();
    let is_requested =
        |language: Language| args.languages.as_ref().is_none_or(|l| l.contains(&language));
    let texts_are_pages = args.texts.is_empty() && args.wiki.is_empty();
    if let Some(dir) = &args.entities {
        pages = page_files(dir)?;
        pages.retain(|(language, _)| is_requested(*language));
        read_pages(&pages, |language, page| {
            if let Some(text) = page.text(args.page_text) {
                descriptions.add(&page.id, language, text)?;
            }
            if let (true, Some(label)) = (texts_are_pages, page.label) {
                labels.push((language, label, page.id));
            }
            Ok(())
        })?;
    }
    if let Some(path) = &args.aliases {
        add_aliases(path, &pages, &mut labels)?;
    }
    let mut label_reports = BTreeMap::new();
    let (links, files) = if texts_are_pages {
        let (matcher, reports) = LabelMatcher::new(labels)?;
        label_reports = reports;
        let files = pages.into_iter().map(|(language, path)| (Some(language), path)).collect();
        (Links::Labels(matcher, args.page_text), files)
    } else {
        let titles = args.sitelinks.as_ref().map(|path| {
            let sitelinks = Sitelinks::read(path)?;
            check_titles(&sitelinks, path, &args.wiki)?;
            Ok::<_, Error>(Links::Titles(sitelinks))
        });
        let texts = args.texts.iter().map(|path| (None, path.clone()));
        let wiki = args.wiki.iter().map(|(language, path)| (Some(*language), path.clone()));
        (titles.unwrap_or(Ok(Links::InText))?, texts.chain(wiki).collect())
    };
    Ok((Sources::new(files, args.languages.clone(), links), descriptions, label_reports))
}

/// Appends the aliases of the labelled entities. An alias that is the label of an entity is skipped,
/// because otherwise the label would be ambiguous.
fn add_aliases(
    path: &Path,
    pages: &[(Language, PathBuf)],
    labels: &mut Vec<(Language, String, String)>,
) -> Result<(), Error> {
    let languages: BTreeSet<Language> = pages.iter().map(|(language, _)| *language).collect();
    let known: HashSet<(Language, &str)> =
        labels.iter().map(|(language, label, _)| (*language, label.trim())).collect();
    let entities: HashSet<&str> = labels.iter().map(|(_, _, entity)| entity.as_str()).collect();
    let mut aliases = Vec::new();
    for_each_alias(path, |entity, language, alias| {
        let is_used = languages.contains(&language)
            && entities.contains(entity)
            && !known.contains(&(language, alias.trim()));
        if is_used {
            aliases.push((language, alias.to_owned(), entity.to_owned()));
        }
        Ok(())
    })?;
    labels.extend(aliases);
    Ok(())
}

/// Checks that there are titles for the pages of every language.
fn check_titles(
    sitelinks: &Sitelinks,
    path: &Path,
    wiki: &[(Language, PathBuf)],
) -> Result<(), Error> {
    let missing = wiki.iter().find(|(language, _)| !sitelinks.has_language(*language));
    let Some((language, _)) = missing else { return Ok(()) };
    let known: Vec<String> = sitelinks.languages().iter().map(Language::to_string).collect();
    Err(Error::Empty {
        what: format!("titles in {language} in {}", path.display()),
        hint: format!(
            "the table has titles in: {}; add the language to --languages of `kg-triples extract --tables \
             sitelinks`",
            if known.is_empty() { "no language".to_owned() } else { known.join(", ") }
        ),
    })
}
