//! Pairs of sentences beside their translations: XNLI's, or pairs about the facts of a graph.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kg_triples::probes::write_inference;
use mlqa_eval::Language;
use tasks::fusion::ClassPair;
use tokenizers::Tokenizer;
use transfer_eval::xnli::{NliConfig, NliExample, encode_nli, read_nli};

use crate::recipe::Recipe;

/// What the arms of a run read.
pub struct Input {
    /// Training pairs by language, row by row translations of each other; the source first.
    train: Vec<(Language, Vec<NliExample>)>,
    /// Test pairs of all languages.
    pub test: Vec<NliExample>,
    /// The same in the source language.
    second: Vec<NliExample>,
}

/// Names of the files that are made.
const MADE: (&str, &str) = ("multinli.train", "xnli.test");

impl Input {
    /// Reads what a run needs. Pairs about facts are written to `made`.
    pub fn read(recipe: &Recipe, made: &Path) -> Result<Self> {
        let (data, languages) = (&recipe.data, &recipe.languages);
        let of = |folder: &Path, language: &Language| -> PathBuf {
            folder.join(format!("{}.{language}.tsv", MADE.0))
        };
        let read = |path: PathBuf| -> Result<Vec<NliExample>> { Ok(read_nli(path)?.examples) };
        let Some(facts) = &data.facts else {
            let train = languages.iter().map(|one| Ok((*one, read(of(&data.train, one))?)));
            let (test, second) =
                (read(data.evaluation.to_path_buf())?, read(data.second.to_path_buf())?);
            return Ok(Self { train: train.collect::<Result<_>>()?, test, second });
        };
        std::fs::create_dir_all(made).with_context(|| made.display().to_string())?;
        let (graph, templates, split) = facts.read()?;
        for (heads, name) in [("train", MADE.0), ("test", MADE.1)] {
            let heads = (name, split.get(heads)?);
            write_inference(&graph, &templates, heads, languages, &data.inference, made)?;
        }
        let (mut test, mut second) = (Vec::new(), Vec::new());
        for language in languages {
            let file = |language| made.join(format!("{}.{language}.tsv", MADE.1));
            test.extend(read(file(language))?);
            second.extend(read(file(languages.first().unwrap_or(language)))?);
        }
        let train = languages.iter().map(|one| Ok((*one, read(of(made, one))?)));
        Ok(Self { train: train.collect::<Result<_>>()?, test, second })
    }

    /// Training pairs of all languages, the source language's own beside themselves.
    pub fn pairs(&self, tokenizer: &Tokenizer, config: &NliConfig) -> Result<Vec<ClassPair>> {
        let (_, source) = self.train.first().context("languages: none")?;
        let source = encode_nli(source, tokenizer, config)?;
        let mut pairs = Vec::new();
        for (language, own) in &self.train {
            let own = encode_nli(own, tokenizer, config)?;
            pairs.extend(ClassPair::all(&own, &source, &format!("{}.{language}.tsv", MADE.0))?);
        }
        Ok(pairs)
    }

    /// Test pairs as the model reads them, and what is read beside.
    pub fn test(&self, tokenizer: &Tokenizer, config: &NliConfig) -> Result<Vec<ClassPair>> {
        ensure!(!self.test.is_empty(), "no pair to test");
        let own = encode_nli(&self.test, tokenizer, config)?;
        let second = encode_nli(&self.second, tokenizer, config)?;
        Ok(ClassPair::all(&own, &second, "data.evaluation beside data.second")?)
    }
}
