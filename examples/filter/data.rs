//! Questions beside their translations.
use anyhow::{Context, Result};
use mlqa_eval::{Dataset, Question};
use qa_translate::read_translations;
use tasks::fusion::{PairedFile, PairedQuestions};

use crate::recipe::Recipe;

/// What the arms of a run read.
pub struct Input {
    pub pairs: PairedQuestions,
    /// For each pair a question about another article in the source language.
    pub unrelated: Vec<Question>,
    /// Questions to be answered.
    pub files: Vec<PairedFile>,
}

impl Input {
    pub fn read(recipe: &Recipe) -> Result<Self> {
        let Recipe { data, languages, .. } = recipe;
        let (&source, others) = languages.split_first().context("languages: none")?;
        let mut train = vec![(source, Dataset::read(&data.train)?)];
        let read = read_translations(&data.translated, "train", source, others, false)?;
        train.extend(read.into_iter().map(|own| (own.language, own.dataset)));
        let pairs = PairedQuestions::of(&train)?;
        let files = PairedFile::all(&data.evaluation, &data.second, source, recipe.tested())?;
        Ok(Self { unrelated: pairs.unrelated()?, pairs, files })
    }
}
