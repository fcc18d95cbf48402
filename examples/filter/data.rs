//! Texts and their translations.
use std::path::Path;

use anyhow::{Context, Result, ensure};
use mlqa_eval::{Dataset, Language, Question};
use qa_translate::read_translations;
use tasks::fusion::{ClassPair, PairedFile, PairedQuestions};
use tokenizers::Tokenizer;
use transfer_eval::xnli::{NliConfig, NliExample, encode_nli, read_nli};

use crate::recipe::Recipe;

/// Input of question answering.
pub struct Questions {
    pub pairs: PairedQuestions,
    /// For each pair, an unrelated question in the source language, about another article.
    pub unrelated: Vec<Question>,
    /// Test questions.
    pub files: Vec<PairedFile>,
}

impl Questions {
    pub fn read(recipe: &Recipe) -> Result<Self> {
        let Recipe { data, languages, .. } = recipe;
        let (&source, targets) = languages.split_first().context("languages: none")?;
        let mut train = vec![(source, Dataset::read(&data.train)?)];
        let translations = read_translations(&data.translated, "train", source, targets, false)?;
        train.extend(translations.into_iter().map(|target| (target.language, target.dataset)));
        let pairs = PairedQuestions::of(&train)?;
        let files = PairedFile::list(&data.evaluation, &data.second, source, recipe.tested())?;
        Ok(Self { unrelated: pairs.unrelated()?, pairs, files })
    }
}

/// Input of classification.
pub struct SentencePairs {
    /// Training pairs by language, source language first; rows with the same index are
    /// translations.
    train: Vec<(Language, Vec<NliExample>)>,
    /// Test pairs of all languages.
    pub test: Vec<NliExample>,
    /// Translations of the test pairs into the source language.
    test_translations: Vec<NliExample>,
}

impl SentencePairs {
    pub fn read(recipe: &Recipe) -> Result<Self> {
        let data = &recipe.data;
        let read = |path: &Path| -> Result<Vec<NliExample>> { Ok(read_nli(path)?.examples) };
        let read_train =
            |language: &Language| Ok((*language, read(&data.train.join(train_file(*language)))?));
        let train = recipe.languages.iter().map(read_train).collect::<Result<_>>()?;
        Ok(Self { train, test: read(&data.evaluation)?, test_translations: read(&data.second)? })
    }

    /// Returns the training pairs of all languages, each with its version in the source language. A
    /// pair in the source language is combined with itself.
    pub fn train_pairs(&self, tokenizer: &Tokenizer, config: &NliConfig) -> Result<Vec<ClassPair>> {
        let (_, source) = self.train.first().context("languages: none")?;
        let source = encode_nli(source, tokenizer, config)?;
        let mut pairs = Vec::new();
        for (language, target) in &self.train {
            let target = encode_nli(target, tokenizer, config)?;
            pairs.extend(ClassPair::from_rows(&target, &source, &train_file(*language))?);
        }
        Ok(pairs)
    }

    /// Returns the test pairs with their translations.
    pub fn test_pairs(&self, tokenizer: &Tokenizer, config: &NliConfig) -> Result<Vec<ClassPair>> {
        ensure!(!self.test.is_empty(), "no pair to test");
        let target = encode_nli(&self.test, tokenizer, config)?;
        let translations = encode_nli(&self.test_translations, tokenizer, config)?;
        Ok(ClassPair::from_rows(&target, &translations, "data.evaluation with data.second")?)
    }
}

/// Returns the name of XNLI's file with the training pairs of a language.
fn train_file(language: Language) -> String {
    format!("multinli.train.{language}.tsv")
}
