//! Real text in seven languages, from the files of `data/`.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kg_triples::entity_linking::EntityPage;
use kg_triples::jsonl::JsonlReader;
use mlqa_eval::{Dataset, Question};
use serde_json::Value;

use crate::stand_in::{Files, StandIn};

/// The seven languages of MLQA.
const LANGUAGES: [&str; 7] = ["en", "de", "es", "ar", "hi", "vi", "zh"];

/// Articles at the end of XQuAD's files that are excluded from training text, for evaluation.
const HELD_OUT_ARTICLES: usize = 12;

/// Sources of the text.
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
    /// Lines of extracts of at most this many code points are skipped
    #[arg(long, default_value_t = 40)]
    pub shortest_extract: usize,
}

impl StandIn for CorpusConfig {
    const COMMAND: &'static str = "demo-data text";

    fn seed(&self) -> Option<u64> {
        None
    }

    /// Writes `<lang>.json`: a list of paragraphs.
    fn make(&self) -> Result<(Files, Value)> {
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

    /// The paragraphs of a language.
    fn texts(&self, language: &str) -> Result<Vec<String>> {
        let mut all = Vec::new();
        let extracts = self.extracts.join(format!("entities.{language}.jsonl.gz"));
        if extracts.exists() {
            for page in JsonlReader::<EntityPage>::open(&extracts)? {
                let extract = page?.extract.unwrap_or_default();
                let long = |part: &&str| part.chars().count() > self.shortest_extract;
                all.extend(extract.split('\n').filter(long).map(str::to_owned));
            }
        }
        let sentences = self.sentences.join(format!("{language}.tsv"));
        if sentences.exists() {
            all.extend(numbered_sentences(&sentences)?);
        }
        if language == "vi" {
            for part in ["train", "dev", "test"] {
                let lines = lines(&self.sentences.join(format!("vi-vtb.{part}.txt")))?;
                all.extend(lines.iter().map(|line| line.trim().to_owned()));
            }
        }
        if let Some(paragraphs) = &self.paragraphs {
            let mut articles = articles(&paragraphs.join(format!("xquad.{language}.json")))?;
            articles.truncate(articles.len().saturating_sub(HELD_OUT_ARTICLES));
            let copies = |text| std::iter::repeat_n(text, usize::from(self.paragraph_copies));
            all.extend(articles.into_iter().flatten().flat_map(copies));
        }
        Ok(all)
    }
}

/// Reads the sentences of a file whose lines are a number, a tab and a text.
fn numbered_sentences(path: &Path) -> Result<Vec<String>> {
    let text = |(number, line): (usize, &String)| {
        let fault = || format!("{}, line {}: expected id, tab, text", path.display(), number + 1);
        let (_, text) = line.split_once('\t').with_context(fault)?;
        Ok(text.to_owned())
    };
    lines(path)?.iter().enumerate().map(text).collect()
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = atomic_file::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Reads the paragraphs of each article of a SQuAD-style file, without repetitions, in file order.
fn articles(path: &Path) -> Result<Vec<Vec<String>>> {
    let paragraphs = |article: &[Question]| {
        let mut texts: Vec<String> = article.iter().map(|one| one.context.to_string()).collect();
        texts.dedup();
        texts
    };
    Ok(Dataset::read(path)?.articles().map(paragraphs).collect())
}
