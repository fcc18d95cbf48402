//! Training text in seven languages, from the files in `data/`.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kg_triples::entity_linking::EntityPage;
use kg_triples::jsonl::JsonlReader;
use mlqa_eval::{Dataset, Question};
use serde_json::Value;

use crate::generator::{Files, Generator};

/// The seven languages of MLQA.
const LANGUAGES: [&str; 7] = ["en", "de", "es", "ar", "hi", "vi", "zh"];

/// Number of articles at the end of XQuAD's files that are reserved for evaluation.
const HELD_OUT_ARTICLES: usize = 12;

/// Options of `demo-data text`: the sources of the text.
#[derive(Clone, Debug, clap::Args)]
pub struct CorpusConfig {
    /// Folder with entities.<lang>.jsonl.gz (Wikipedia extracts)
    #[arg(long, value_name = "DIR")]
    pub extracts: PathBuf,
    /// Folder with <lang>.tsv (parallel sentences) and vi-vtb.*.txt
    #[arg(long, value_name = "DIR")]
    pub sentences: PathBuf,
    /// Folder with xquad.<lang>.json, whose last 12 articles are excluded
    #[arg(long, value_name = "DIR")]
    pub paragraphs: Option<PathBuf>,
    /// Number of copies of each paragraph of --paragraphs
    #[arg(long, default_value_t = 1)]
    pub paragraph_copies: u16,
    /// Skip lines of extracts with at most this many code points
    #[arg(long = "shortest-extract", default_value_t = 40)]
    pub max_skipped_chars: usize,
}

impl Generator for CorpusConfig {
    const COMMAND: &'static str = "demo-data text";

    fn seed(&self) -> Option<u64> {
        None
    }

    /// Returns `<lang>.json` for each language: a list of paragraphs.
    fn generate(&self) -> Result<(Files, Value)> {
        let mut files = Files::new();
        let mut counts = BTreeMap::new();
        for (language, paragraphs) in self.read()? {
            files.push((format!("{language}.json"), serde_json::to_string(&paragraphs)?));
            counts.insert(language, paragraphs.len());
        }
        Ok((files, serde_json::to_value(counts)?))
    }
}

/// Paragraphs by language.
type Corpus = BTreeMap<String, Vec<String>>;

impl CorpusConfig {
    /// Reads the training text; errors name the file and line.
    fn read(&self) -> Result<Corpus> {
        for (key, folder) in [("extracts", &self.extracts), ("sentences", &self.sentences)] {
            ensure!(folder.is_dir(), "--{key} {}: no such folder", folder.display());
        }
        let texts = |language: &str| Ok((language.to_owned(), self.texts(language)?));
        LANGUAGES.into_iter().map(texts).collect()
    }

    /// Returns the paragraphs of a language.
    fn texts(&self, language: &str) -> Result<Vec<String>> {
        let mut paragraphs = Vec::new();
        let extracts = self.extracts.join(format!("entities.{language}.jsonl.gz"));
        if extracts.exists() {
            for page in JsonlReader::<EntityPage>::open(&extracts)? {
                let extract = page?.extract.unwrap_or_default();
                let is_long = |line: &&str| line.chars().count() > self.max_skipped_chars;
                paragraphs.extend(extract.split('\n').filter(is_long).map(str::to_owned));
            }
        }
        let sentences = self.sentences.join(format!("{language}.tsv"));
        if sentences.exists() {
            paragraphs.extend(numbered_sentences(&sentences)?);
        }
        if language == "vi" {
            for part in ["train", "dev", "test"] {
                let lines = lines(&self.sentences.join(format!("vi-vtb.{part}.txt")))?;
                paragraphs.extend(lines.iter().map(|line| line.trim().to_owned()));
            }
        }
        if let Some(folder) = &self.paragraphs {
            let mut articles = articles(&folder.join(format!("xquad.{language}.json")))?;
            articles.truncate(articles.len().saturating_sub(HELD_OUT_ARTICLES));
            let copies = |text| std::iter::repeat_n(text, usize::from(self.paragraph_copies));
            paragraphs.extend(articles.into_iter().flatten().flat_map(copies));
        }
        Ok(paragraphs)
    }
}

/// Reads the sentences of a file whose lines are a number, a tab and a text.
fn numbered_sentences(path: &Path) -> Result<Vec<String>> {
    let text = |(number, line): (usize, &String)| {
        let row_error =
            || format!("{}, line {}: expected id, tab, text", path.display(), number + 1);
        let (_, text) = line.split_once('\t').with_context(row_error)?;
        Ok(text.to_owned())
    };
    lines(path)?.iter().enumerate().map(text).collect()
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = atomic_file::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Reads the distinct paragraphs of each article of a SQuAD-style file, in file order.
fn articles(path: &Path) -> Result<Vec<Vec<String>>> {
    let paragraphs = |article: &[Question]| {
        let mut texts: Vec<String> =
            article.iter().map(|question| question.context.to_string()).collect();
        texts.dedup();
        texts
    };
    Ok(Dataset::read(path)?.articles().map(paragraphs).collect())
}
