//! XQuAD as parallel questions and paragraphs, PUD's sentences, and the training pairs of an arm.
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use examples::sentences;
use kg_triples::knowledge::{PairKind, TextPair};
use mlqa_eval::Language;
use mlqa_eval::squad::File;
use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};
use tasks::text_pairs::PairLoss;
use trainer::rng_for;
use unicode_segmentation::UnicodeSegmentation;

use crate::candidates::Entities;
use crate::recipe::{Positive, Recipe};

/// Texts by language. Each text starts with the encoder's prefix from the recipe, such as "query:
/// ". Texts at the same index are translations of each other.
pub type Texts = BTreeMap<Language, Vec<String>>;

/// A question in all languages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Index of its paragraph.
    pub paragraph: usize,
    /// Index among the questions of the paragraph.
    pub index: usize,
    pub held_out: bool,
}

/// Training and evaluation data.
#[derive(Default)]
pub struct Inputs {
    /// Questions in the order of `question_texts`.
    pub questions: Vec<Question>,
    pub question_texts: Texts,
    pub paragraphs: Texts,
    pub sentences: Texts,
    /// Entities for re-ranking; empty without `reranking.languages`.
    pub entities: Entities,
}

impl Inputs {
    pub fn read(recipe: &Recipe) -> Result<Self> {
        let Recipe { prefixes, evaluation, .. } = recipe;
        let mut inputs = Self::default();
        for &language in &recipe.languages {
            let path = recipe.data.xquad.join(format!("xquad.{language}.json"));
            let (mut questions, mut texts, mut paragraphs) = (Vec::new(), Vec::new(), Vec::new());
            for (index, article) in File::read(&path)?.data.into_iter().enumerate() {
                let held_out = index >= recipe.train_articles;
                for paragraph in article.paragraphs {
                    for (index, qa) in paragraph.qas.iter().enumerate() {
                        questions.push(Question { paragraph: paragraphs.len(), index, held_out });
                        texts.push(format!("{}{}", prefixes.query, qa.question));
                    }
                    paragraphs.push(format!("{}{}", prefixes.passage, paragraph.context));
                }
            }
            let is_parallel = inputs.questions.is_empty() || inputs.questions == questions;
            ensure!(is_parallel, "{}: not parallel to the other languages", path.display());
            inputs.questions = questions;
            inputs.question_texts.insert(language, texts);
            inputs.paragraphs.insert(language, paragraphs);
        }
        let has_split = |held_out| inputs.questions.iter().any(|q| q.held_out == held_out);
        let count = recipe.train_articles;
        ensure!(
            has_split(true) && has_split(false),
            "train_articles = {count}: no questions in one of the splits"
        );
        let languages = &evaluation.sentence_languages;
        let folder = &recipe.data.sentences;
        for (language, passages) in sentences::read(folder, languages, evaluation.max_sentences)? {
            let text = |p: &kg_triples::phrases::PhrasePassage| prefixes.query.clone() + &p.text;
            inputs.sentences.insert(language, passages.iter().map(text).collect());
        }
        let mut counts = inputs.sentences.values().map(Vec::len);
        let first = counts.next();
        let equal_counts = counts.all(|count| Some(count) == first);
        ensure!(equal_counts, "{}: files differ in their number of sentences", folder.display());
        if recipe.reranking.is_used() {
            inputs.entities = Entities::read(recipe)?;
        }
        Ok(inputs)
    }

    /// Returns one pair for each training question and language. If key and query have different
    /// languages, the key's language is drawn at random. A key is not a negative for a query if
    /// both pairs have the same entity. For cosine regression, each of these pairs has similarity 1
    /// and is followed by a pair of similarity 0, whose key is a random training question of
    /// another paragraph.
    pub fn pairs(
        &self,
        recipe: &Recipe,
        positive: Positive,
        loss: PairLoss,
        seed: u64,
    ) -> Result<Vec<TextPair>> {
        let text = |texts: &Texts, language: Language, index: usize| -> Result<String> {
            texts.get(&language).and_then(|texts| texts.get(index)).cloned().context("no text")
        };
        let (prefix, share) = (&recipe.prefixes.query, recipe.dropped_words);
        let mut pairs = Vec::new();
        let training: Vec<(usize, &Question)> =
            self.questions.iter().enumerate().filter(|(_, q)| !q.held_out).collect();
        for &(row, &Question { paragraph, .. }) in &training {
            let mut rng = rng_for(seed, "pairs", row as u64);
            for &language in &recipe.languages {
                let other_languages =
                    recipe.languages.iter().filter(|candidate| **candidate != language);
                let second_language =
                    *other_languages.collect::<Vec<_>>().choose(&mut rng).context("languages")?;
                let query = text(&self.question_texts, language, row)?;
                let (key_language, key) = match positive {
                    Positive::Translation => {
                        (*second_language, text(&self.question_texts, *second_language, row)?)
                    }
                    Positive::Paragraph => {
                        (*second_language, text(&self.paragraphs, *second_language, paragraph)?)
                    }
                    Positive::OwnParagraph => {
                        (language, text(&self.paragraphs, language, paragraph)?)
                    }
                    Positive::DroppedWords => {
                        let question = query.strip_prefix(prefix).unwrap_or(&query);
                        (language, format!("{prefix}{}", drop_words(question, share, &mut rng)))
                    }
                };
                let is_paragraph = matches!(positive, Positive::Paragraph | Positive::OwnParagraph);
                let pair = TextPair {
                    kind: PairKind::Es,
                    query,
                    query_language: language,
                    key,
                    key_language,
                    entity: if is_paragraph { paragraph } else { row }.to_string(),
                    similarity: None,
                };
                if loss == PairLoss::Contrastive {
                    pairs.push(pair);
                    continue;
                }
                let other_questions = training.iter().filter(|(_, q)| q.paragraph != paragraph);
                let (other_question, _) =
                    other_questions.choose(&mut rng).context("one training paragraph")?;
                let key = text(&self.question_texts, key_language, *other_question)?;
                let negative_pair = TextPair { key, similarity: Some(0.0), ..pair.clone() };
                pairs.extend([TextPair { similarity: Some(1.0), ..pair }, negative_pair]);
            }
        }
        Ok(pairs)
    }
}

/// Removes a random share of the text's words; each Han character counts as a word.
fn drop_words(text: &str, share: f64, rng: &mut impl Rng) -> String {
    let is_word = |piece: &str| piece.chars().any(char::is_alphanumeric);
    let pieces =
        text.split_word_bounds().filter(|piece| !is_word(piece) || !rng.random_bool(share));
    pieces.collect()
}
