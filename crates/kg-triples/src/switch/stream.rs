use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{EntityLabels, SwitchConfig, SwitchedText, sentences, switch_sentence};
use crate::entity_linking::LinkedText;
use crate::{Error, Language};

/// Number of texts per block.
const BLOCK_TEXTS: usize = 1024;

/// Counts of switched and skipped texts and sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchReport {
    /// Texts in the source language.
    pub texts: usize,
    /// Skipped texts in other languages.
    pub other_language: usize,
    /// Sentences of the texts in the source language.
    pub sentences: usize,
    /// Skipped mentions, which overlap a retained mention or span several lines.
    pub overlapping: usize,
    /// Sentences skipped because they have too many words.
    pub too_long: usize,
    /// Sentences skipped because they have no mention. Sentences that are too long are not
    /// included.
    pub without_mention: usize,
    /// Sentences with mentions for which no switched sentence was created.
    pub unswitched: usize,
    /// Sentences for which at least one switched sentence was created.
    pub switched: usize,
    /// By language, the number of switched sentences and the number of their replaced mentions.
    pub by_language: BTreeMap<Language, (usize, usize)>,
}

/// Splits all texts into sentences and switches each sentence. `write` is called for each sentence
/// that has a mention and is not too long, in the order of the texts. The arguments of `write` are
/// the index of the sentence among all sentences, the sentence, and its switched sentences.
///
/// The list of switched sentences may be empty. Blocks of texts are processed in parallel; the
/// result does not depend on the number of threads.
///
/// # Errors
/// As [`SwitchConfig::validate`]; errors of `texts` and `write`.
pub fn switch_texts(
    texts: impl IntoIterator<Item = Result<LinkedText, Error>>,
    labels: &EntityLabels,
    config: &SwitchConfig,
    mut write: impl FnMut(u64, &LinkedText, &[SwitchedText]) -> Result<(), Error>,
) -> Result<SwitchReport, Error> {
    config.validate()?;
    let mut report = SwitchReport::default();
    let mut texts = texts.into_iter();
    let mut number = 0;
    loop {
        let block: Vec<LinkedText> = texts.by_ref().take(BLOCK_TEXTS).collect::<Result<_, _>>()?;
        if block.is_empty() {
            return Ok(report);
        }
        let is_source_text = |text: &&LinkedText| text.language == config.source;
        let source_texts: Vec<&LinkedText> = block.iter().filter(is_source_text).collect();
        report.texts += source_texts.len();
        report.other_language += block.len() - source_texts.len();
        let sentences_by_text: Vec<(Vec<LinkedText>, usize)> =
            source_texts.par_iter().map(|text| sentences(text)).collect();
        report.overlapping +=
            sentences_by_text.iter().map(|(_, overlapping)| overlapping).sum::<usize>();
        let mut numbered_sentences = Vec::new();
        for sentence in sentences_by_text.into_iter().flat_map(|(sentences, _)| sentences) {
            if report.count_sentence(&sentence, config) {
                numbered_sentences.push((number, sentence));
            }
            number += 1;
        }
        let forms: Vec<Vec<SwitchedText>> = numbered_sentences
            .par_iter()
            .map(|(number, sentence)| switch_sentence(sentence, *number, labels, config))
            .collect();
        for ((number, sentence), forms) in numbered_sentences.iter().zip(&forms) {
            report.count_forms(forms);
            write(*number, sentence, forms)?;
        }
    }
}

impl SwitchReport {
    /// Counts a sentence and returns whether it has a mention and is not too long.
    fn count_sentence(&mut self, sentence: &LinkedText, config: &SwitchConfig) -> bool {
        self.sentences += 1;
        let too_long = sentence.text.split_whitespace().count() > config.max_words;
        let without_mention = !too_long && sentence.mentions.is_empty();
        self.too_long += usize::from(too_long);
        self.without_mention += usize::from(without_mention);
        !too_long && !without_mention
    }

    fn count_forms(&mut self, forms: &[SwitchedText]) {
        self.unswitched += usize::from(forms.is_empty());
        self.switched += usize::from(!forms.is_empty());
        for form in forms {
            let (texts, mentions) = self.by_language.entry(form.text.language).or_default();
            *texts += 1;
            *mentions += form.switched.iter().filter(|switched| **switched).count();
        }
    }
}
