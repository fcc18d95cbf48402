//! Questions beside their translations: a user's, or XQuAD's articles.
use std::path::Path;

use anyhow::{Context, Result};
use mlqa_eval::{Dataset, Question};
use qa_translate::read_translations;
use tasks::fusion::{PairedFile, PairedQuestions, split_articles};
use tasks::question_answering::xquad_files;

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
    /// Reads what a run needs. Of XQuAD's articles, those to be asked about are written to `made`.
    pub fn read(recipe: &Recipe, made: &Path) -> Result<Self> {
        let (data, languages) = (&recipe.data, &recipe.languages);
        let (mut folder, mut train) = (&*data.evaluation, Vec::new());
        if data.parallel.is_set() {
            std::fs::create_dir_all(made).with_context(|| made.display().to_string())?;
            for file in xquad_files(&data.parallel, languages) {
                let (own, test) = split_articles(Dataset::read(&file.path)?, data.train_articles)?;
                test.write(made.join(format!("xquad.{}.json", file.context)))?;
                train.push((file.context, own));
            }
            folder = made;
        } else if let Some((&source, others)) = languages.split_first() {
            train.push((source, Dataset::read(&data.train)?));
            let read = read_translations(&data.translated, "train", source, others, false)?;
            train.extend(read.into_iter().map(|own| (own.language, own.dataset)));
        }
        let second = data.second.is_set().then_some(&*data.second);
        let pairs = PairedQuestions::of(&train)?;
        let files = PairedFile::all(folder, second, languages)?;
        Ok(Self { unrelated: pairs.unrelated()?, pairs, files })
    }
}
