//! Real text in seven languages, from the files of `data/`.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kg_triples::entity_linking::EntityPage;
use kg_triples::jsonl::JsonlReader;
use mlqa_eval::{Dataset, Question};
use serde_json::Value;
use shards::hash_of;

use crate::documents;
use crate::stand_in::{Files, StandIn};

/// The seven languages of MLQA.
pub(crate) const LANGUAGES: [&str; 7] = ["en", "de", "es", "ar", "hi", "vi", "zh"];

/// Where the text lies.
#[derive(Clone, Debug, clap::Args)]
pub struct CorpusConfig {
    /// Folder with entities.<lang>.jsonl.gz (Wikipedia extracts)
    #[arg(long, value_name = "DIR")]
    pub extracts: PathBuf,
    /// Folder with <lang>.tsv (parallel sentences) and vi-vtb.*.txt
    #[arg(long, value_name = "DIR")]
    pub sentences: PathBuf,
    /// Folder with xquad.<lang>.json
    #[arg(long, value_name = "DIR")]
    pub paragraphs: Option<PathBuf>,
    /// Folder of `demo-data documents`, such as corpus/text of `cargo xtask corpus`
    #[arg(long, value_name = "DIR")]
    pub documents: Option<PathBuf>,
    /// Paragraphs of a page are joined up to so many code points
    #[arg(long, default_value_t = 1200)]
    pub page_part: usize,
    /// Keep one in so many documents from training, by a hash of their ids, as held-out-<lang>.json
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    pub held_out_one_in: Option<u64>,
    /// Of its articles so many at the end are kept for evaluation
    #[arg(long, default_value_t = 12)]
    pub held_out_articles: usize,
    /// Times each of its paragraphs counts
    #[arg(long, default_value_t = 1)]
    pub paragraph_copies: usize,
    /// Lines of extracts up to so many code points are left out
    #[arg(long, default_value_t = 40)]
    pub shortest_extract: usize,
}

impl StandIn for CorpusConfig {
    const COMMAND: &'static str = "demo-data text";

    fn seed(&self) -> Option<u64> {
        None
    }

    /// `<lang>.json`, and with documents held out `held-out-<lang>.json`: lists of paragraphs.
    fn make(&self) -> Result<(Files, Value)> {
        let mut files = Files::new();
        let mut counts = BTreeMap::new();
        let (text, held_out) = self.divided()?;
        for (prefix, corpus) in [("", text), ("held-out-", held_out)] {
            for (language, paragraphs) in corpus {
                let json = serde_json::to_string(&paragraphs)?;
                files.push((format!("{prefix}{language}.json"), json));
                counts.insert(format!("{prefix}{language}"), paragraphs.len());
            }
        }
        Ok((files, serde_json::to_value(counts)?))
    }
}

/// Whether a document is one in `n` that are kept from training, by a hash of its id.
pub(crate) fn is_held_out(id: &str, n: u64) -> bool {
    hash_of(&["held out", id]).is_multiple_of(n)
}

/// Paragraphs by language.
pub(crate) type Corpus = BTreeMap<String, Vec<String>>;

impl CorpusConfig {
    /// Reads all text to train on; the error names the file and line that cannot be read.
    pub(crate) fn read(&self) -> Result<Corpus> {
        Ok(self.divided()?.0)
    }

    /// The text to train on, and that of the documents that are held out.
    fn divided(&self) -> Result<(Corpus, Corpus)> {
        let folders = [
            ("extracts", Some(&self.extracts)),
            ("sentences", Some(&self.sentences)),
            ("documents", self.documents.as_ref()),
        ];
        for (key, folder) in folders {
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                let made = if key == "documents" { "; `cargo xtask corpus` makes it" } else { "" };
                bail!("--{key} {}: no such folder{made}", folder.display());
            }
        }
        let (mut text, mut held_out) = (Corpus::new(), Corpus::new());
        for language in LANGUAGES {
            let out = |id: &str| self.held_out_one_in.is_some_and(|n| is_held_out(id, n));
            let (kept, rest): (Vec<_>, Vec<_>) =
                self.texts(language)?.into_iter().partition(|(id, _)| !out(id));
            let texts =
                |all: Vec<(String, String)>| all.into_iter().map(|(_, text)| text).collect();
            text.insert(language.to_owned(), texts(kept));
            if self.held_out_one_in.is_some() {
                held_out.insert(language.to_owned(), texts(rest));
            }
        }
        Ok((text, held_out))
    }

    /// The paragraphs of a language, each with the id of its document, which translations share.
    fn texts(&self, language: &str) -> Result<Vec<(String, String)>> {
        let mut all = Vec::new();
        let extracts = self.extracts.join(format!("entities.{language}.jsonl.gz"));
        if extracts.exists() {
            for page in JsonlReader::<EntityPage>::open(&extracts)? {
                let page = page?;
                let extract = page.extract.unwrap_or_default();
                let long = |part: &&str| part.chars().count() > self.shortest_extract;
                let parts = extract.split('\n').filter(long);
                all.extend(parts.map(|part| (page.id.clone(), part.to_owned())));
            }
        }
        let sentences = self.sentences.join(format!("{language}.tsv"));
        if sentences.exists() {
            all.extend(numbered_sentences(&sentences)?);
        }
        if language == "vi" {
            for part in ["train", "dev", "test"] {
                let name = format!("vi-vtb.{part}.txt");
                let lines = lines(&self.sentences.join(&name))?.into_iter().enumerate();
                let line =
                    |(k, line): (usize, String)| (format!("{name} {k}"), line.trim().to_owned());
                all.extend(lines.map(line));
            }
        }
        if let Some(documents) = &self.documents {
            all.extend(self.page_parts(documents, language)?);
        }
        if let Some(paragraphs) = &self.paragraphs {
            let mut articles = articles(&paragraphs.join(format!("xquad.{language}.json")))?;
            articles.truncate(articles.len().saturating_sub(self.held_out_articles));
            for (number, article) in articles.into_iter().enumerate() {
                let copies = |text| std::iter::repeat_n(text, self.paragraph_copies);
                let id = format!("xquad {number}");
                all.extend(article.into_iter().flat_map(copies).map(|text| (id.clone(), text)));
            }
        }
        Ok(all)
    }

    /// The paragraphs of each page, joined to texts of at least `page_part` code points but for the
    /// last.
    fn page_parts(&self, folder: &Path, language: &str) -> Result<Vec<(String, String)>> {
        let mut parts: Vec<(String, String)> = Vec::new();
        for paragraph in documents::read(folder, language)? {
            match parts.last_mut() {
                Some((page, part))
                    if page == paragraph.page() && part.chars().count() < self.page_part =>
                {
                    part.push('\n');
                    part.push_str(&paragraph.text);
                }
                _ => parts.push((paragraph.page().to_owned(), paragraph.text)),
            }
        }
        Ok(parts)
    }
}

/// The sentences of a file with lines of a number, a tab and a text.
fn numbered_sentences(path: &Path) -> Result<Vec<(String, String)>> {
    let text = |(number, line): (usize, &String)| {
        let fault = || format!("{}, line {}: expected id, tab, text", path.display(), number + 1);
        let (id, text) = line.split_once('\t').with_context(fault)?;
        Ok((id.to_owned(), text.to_owned()))
    };
    lines(path)?.iter().enumerate().map(text).collect()
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = whole_file::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The paragraphs of each article of a SQuAD-style file, each once, in file order.
pub(crate) fn articles(path: &Path) -> Result<Vec<Vec<String>>> {
    let paragraphs = |article: &[Question]| {
        let mut texts: Vec<String> = article.iter().map(|one| one.context.to_string()).collect();
        texts.dedup();
        texts
    };
    Ok(Dataset::read(path)?.articles().map(paragraphs).collect())
}
