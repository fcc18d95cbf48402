//! Pairs of sentences beside their translations.
use std::path::Path;

use anyhow::{Context, Result, ensure};
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

impl Input {
    pub fn read(recipe: &Recipe) -> Result<Self> {
        let data = &recipe.data;
        let read = |path: &Path| -> Result<Vec<NliExample>> { Ok(read_nli(path)?.examples) };
        let of = |language: &Language| Ok((*language, read(&data.train.join(file(*language)))?));
        let train = recipe.languages.iter().map(of).collect::<Result<_>>()?;
        Ok(Self { train, test: read(&data.evaluation)?, second: read(&data.second)? })
    }

    /// Training pairs of all languages, the source language's own beside themselves.
    pub fn pairs(&self, tokenizer: &Tokenizer, config: &NliConfig) -> Result<Vec<ClassPair>> {
        let (_, source) = self.train.first().context("languages: none")?;
        let source = encode_nli(source, tokenizer, config)?;
        let mut pairs = Vec::new();
        for (language, own) in &self.train {
            let own = encode_nli(own, tokenizer, config)?;
            pairs.extend(ClassPair::all(&own, &source, &file(*language))?);
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

/// Training pairs of a language, as XNLI names them.
fn file(language: Language) -> String {
    format!("multinli.train.{language}.tsv")
}
