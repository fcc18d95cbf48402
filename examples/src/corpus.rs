//! Real text in seven languages, from the files of `data/`.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail};
use experiment::InputPath;
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

use crate::inputs::{EntityPages, Sentences, XquadFiles};

/// The seven languages of MLQA.
pub const LANGUAGES: [&str; 7] = ["en", "de", "es", "ar", "hi", "vi", "zh"];

/// Where the text lies.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorpusConfig {
    /// Folder with `entities.<lang>.jsonl.gz` (Wikipedia extracts).
    pub extracts: InputPath<EntityPages>,
    /// Folder with `<lang>.tsv` (parallel sentences) and `vi-vtb.*.txt`.
    pub sentences: InputPath<Sentences>,
    /// Folder with `xquad.<lang>.json`; paragraphs of its last `held_out_articles` articles are
    /// left out.
    pub paragraphs: InputPath<XquadFiles>,
    /// Articles kept for evaluation.
    pub held_out_articles: usize,
    /// Times each paragraph counts.
    pub paragraph_copies: usize,
    /// Extract lines up to this many code points are left out.
    pub shortest_extract: usize,
}

/// Paragraphs by language.
pub type Corpus = BTreeMap<String, Vec<String>>;

#[derive(Deserialize)]
struct Extract {
    extract: Option<String>,
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let name = || path.display().to_string();
    let file = File::open(path).with_context(name)?;
    let reader: Box<dyn BufRead> = if path.extension().is_some_and(|ending| ending == "gz") {
        Box::new(BufReader::new(GzDecoder::new(file)))
    } else {
        Box::new(BufReader::new(file))
    };
    let lines: std::io::Result<Vec<String>> = reader.lines().collect();
    lines.with_context(name)
}

impl CorpusConfig {
    /// Reads all text.
    ///
    /// # Errors
    /// Naming the file and line that cannot be read.
    pub fn read(&self) -> Result<Corpus> {
        let mut corpus = Corpus::new();
        for (key, folder) in [("extracts", &*self.extracts), ("sentences", &*self.sentences)] {
            if !folder.is_dir() {
                bail!("corpus.{key} = {}: no such folder", folder.display());
            }
        }
        for language in LANGUAGES {
            let mut text = Vec::new();
            let extracts = self.extracts.join(format!("entities.{language}.jsonl.gz"));
            if extracts.exists() {
                for (number, line) in lines(&extracts)?.iter().enumerate() {
                    let entry: Extract = serde_json::from_str(line)
                        .with_context(|| format!("{}, line {}", extracts.display(), number + 1))?;
                    let parts = entry.extract.unwrap_or_default();
                    let long = |part: &&str| part.chars().count() > self.shortest_extract;
                    text.extend(parts.split('\n').filter(long).map(str::to_owned));
                }
            }
            let sentences = self.sentences.join(format!("{language}.tsv"));
            if sentences.exists() {
                for (number, line) in lines(&sentences)?.iter().enumerate() {
                    let Some((_, sentence)) = line.split_once('\t') else {
                        bail!(
                            "{}, line {}: expected id, tab, text",
                            sentences.display(),
                            number + 1
                        );
                    };
                    text.push(sentence.to_owned());
                }
            }
            if language == "vi" {
                for part in ["train", "dev", "test"] {
                    let path = self.sentences.join(format!("vi-vtb.{part}.txt"));
                    text.extend(lines(&path)?.into_iter().map(|line| line.trim().to_owned()));
                }
            }
            let paragraphs = self.paragraphs.join(format!("xquad.{language}.json"));
            let paragraphs = training_paragraphs(&paragraphs, self.held_out_articles)?;
            for paragraph in paragraphs {
                text.extend(std::iter::repeat_n(paragraph, self.paragraph_copies));
            }
            corpus.insert(language.to_owned(), text);
        }
        Ok(corpus)
    }
}

/// Paragraphs of all but the last `held_out` articles, each once.
fn training_paragraphs(path: &Path, held_out: usize) -> Result<Vec<String>> {
    let mut articles = articles(path)?;
    articles.truncate(articles.len().saturating_sub(held_out));
    Ok(articles.into_iter().flatten().collect())
}

/// The paragraphs of each article of a SQuAD-style file, each once, in file order.
///
/// # Errors
/// Naming the file if it cannot be read.
pub fn articles(path: &Path) -> Result<Vec<Vec<String>>> {
    let dataset = mlqa_eval::Dataset::read(path)?;
    let mut articles: Vec<(&str, Vec<String>)> = Vec::new();
    for question in &dataset.questions {
        if articles.last().is_none_or(|(title, _)| *title != &*question.title) {
            articles.push((&question.title, Vec::new()));
        }
        if let Some((_, own)) = articles.last_mut()
            && own.last().map(String::as_str) != Some(&*question.context)
        {
            own.push(question.context.to_string());
        }
    }
    Ok(articles.into_iter().map(|(_, own)| own).collect())
}
