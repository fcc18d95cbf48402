//! Generates pretraining text in seven languages from the files in `data/`.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use kg_triples::entity_linking::EntityPage;
use kg_triples::jsonl::JsonlReader;
use mlqa_eval::{Dataset, Question};
use serde_json::Value;

use crate::generator::{Files, Generator};

/// The seven languages of MLQA.
const LANGUAGES: [&str; 7] = ["en", "de", "es", "ar", "hi", "vi", "zh"];

/// Number of articles to exclude at the end of each XQuAD file. They are reserved for evaluation.
const HELD_OUT_ARTICLES: usize = 12;

/// Options of `demo-data text`: folders with the source texts.
#[derive(Clone, Debug, clap::Args)]
pub struct CorpusConfig {
    /// Folder with entities.<lang>.jsonl.gz (Wikipedia extracts)
    #[arg(long, value_name = "DIR")]
    pub extracts: PathBuf,
    /// Folder with <lang>.tsv (parallel sentences) and vi-vtb.*.txt (Vietnamese news sentences)
    #[arg(long, value_name = "DIR")]
    pub sentences: Option<PathBuf>,
    /// Folder with xquad.<lang>.json, whose last 12 articles are excluded
    #[arg(long, value_name = "DIR")]
    pub paragraphs: Option<PathBuf>,
    /// Number of copies of each paragraph from --paragraphs
    #[arg(long, default_value_t = 1)]
    pub paragraph_copies: u16,
    /// Skip lines of Wikipedia extracts that have at most this many code points
    #[arg(long, default_value_t = 40)]
    pub max_skipped_chars: usize,
}

impl Generator for CorpusConfig {
    const COMMAND: &'static str = "demo-data text";

    fn seed(&self) -> Option<u64> {
        None
    }

    /// Returns a file `<lang>.json` for each language, which contains a list of paragraphs.
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
    /// Reads the paragraphs of all languages.
    fn read(&self) -> Result<Corpus> {
        for (option, folder) in [
            ("extracts", Some(&self.extracts)),
            ("sentences", self.sentences.as_ref()),
            ("paragraphs", self.paragraphs.as_ref()),
        ] {
            if let Some(folder) = folder {
                ensure!(folder.is_dir(), "--{option} {}: no such folder", folder.display());
            }
        }
        let entry = |language: &str| Ok((language.to_owned(), self.read_paragraphs(language)?));
        LANGUAGES.into_iter().map(entry).collect()
    }

    /// Reads the paragraphs of a language.
    fn read_paragraphs(&self, language: &str) -> Result<Vec<String>> {
        let mut paragraphs = Vec::new();
        let extracts = self.extracts.join(format!("entities.{language}.jsonl.gz"));
        if extracts.exists() {
            for page in JsonlReader::<EntityPage>::open(&extracts)? {
                let Some(extract) = page?.extract else { continue };
                let is_long = |line: &&str| line.chars().count() > self.max_skipped_chars;
                paragraphs.extend(extract.split('\n').filter(is_long).map(str::to_owned));
            }
        }
        if let Some(folder) = &self.sentences {
            paragraphs.extend(read_sentences(folder, language)?);
        }
        if let Some(folder) = &self.paragraphs {
            let mut articles = read_articles(&folder.join(format!("xquad.{language}.json")))?;
            articles.truncate(articles.len().saturating_sub(HELD_OUT_ARTICLES));
            let copies = |text| std::iter::repeat_n(text, usize::from(self.paragraph_copies));
            paragraphs.extend(articles.into_iter().flatten().flat_map(copies));
        }
        Ok(paragraphs)
    }
}

/// Reads the sentences of a language: of `<lang>.tsv`, if it exists, and for Vietnamese of the
/// files `vi-vtb.*.txt`.
fn read_sentences(folder: &Path, language: &str) -> Result<Vec<String>> {
    let mut sentences = Vec::new();
    let parallel = folder.join(format!("{language}.tsv"));
    if parallel.exists() {
        sentences.extend(read_numbered_sentences(&parallel)?);
    }
    if language == "vi" {
        for split in ["train", "dev", "test"] {
            let lines = read_lines(&folder.join(format!("vi-vtb.{split}.txt")))?;
            sentences.extend(lines.iter().map(|line| line.trim().to_owned()));
        }
    }
    Ok(sentences)
}

/// Reads the sentences of a file whose lines consist of an id, a tab and a sentence.
fn read_numbered_sentences(path: &Path) -> Result<Vec<String>> {
    let text = |(number, line): (usize, &String)| {
        let row_error =
            || format!("{}, line {}: expected id, tab, text", path.display(), number + 1);
        let (_, text) = line.split_once('\t').with_context(row_error)?;
        Ok(text.to_owned())
    };
    read_lines(path)?.iter().enumerate().map(text).collect()
}

fn read_lines(path: &Path) -> Result<Vec<String>> {
    // The message contains the cause, which is therefore not a further cause.
    let text = atomic_file::read_to_string(path).map_err(|error| anyhow!("{error}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Reads the paragraphs of each article of a SQuAD-style file, in file order.
fn read_articles(path: &Path) -> Result<Vec<Vec<String>>> {
    let paragraphs = |article: &[Question]| {
        let mut texts: Vec<String> =
            article.iter().map(|question| question.context.to_string()).collect();
        texts.dedup();
        texts
    };
    Ok(Dataset::read(path)?.articles().map(paragraphs).collect())
}
