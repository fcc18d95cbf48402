//! The question files of an experiment about the facts of a graph.
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::item::MOST_ITEMS;
use super::{
    EntitySplit, QuestionConfig, QuestionReport, SplitHeads, TemplateSet, build_parallel_questions,
    build_questions,
};
use crate::{KgError, KnowledgeGraph, Language};

/// Questions about the facts of a graph, to train on and to be answered. A stand-in for real
/// questions, and no paper's.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FactQuestions {
    /// Training questions, each with a context whose labels are drawn at random, so that no fact
    /// can be learned from it.
    pub items: usize,
    /// Head entities by split; the contexts of `dev` and `test` tell true facts.
    pub split: EntitySplit,
}

/// What became of the facts of each split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactReport {
    /// Splits by name.
    pub splits: Vec<(&'static str, QuestionReport)>,
}

/// One line: the items of each split, and the facts that are left out.
impl std::fmt::Display for FactReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let items = self.splits.iter().map(|(name, split)| format!("{name} {}", split.items));
        write!(f, "questions from facts: {}", items.collect::<Vec<_>>().join(", "))?;
        let sum = |count: fn(&QuestionReport) -> usize| {
            self.splits.iter().map(|(_, own)| count(own)).sum()
        };
        let (facts, without): (usize, usize) = (sum(|own| own.facts), sum(|own| own.without_words));
        if without > 0 {
            write!(f, "; facts left out, as a label or template is missing: {without} of {facts}")?;
        }
        match sum(|own| own.without_context) {
            0 => Ok(()),
            count => write!(f, "; items left out, as no other fact stands beside theirs: {count}"),
        }
    }
}

impl Default for FactQuestions {
    fn default() -> Self {
        Self { items: 10_000, split: EntitySplit::default() }
    }
}

impl FactQuestions {
    /// Checks the number of items, from 1 to 100 million: all are in memory.
    ///
    /// # Errors
    /// [`KgError::Config`] naming the key.
    ///
    /// ```
    /// use kg_triples::questions::FactQuestions;
    ///
    /// let none = FactQuestions { items: 0, ..FactQuestions::default() };
    /// assert_eq!(none.validate().unwrap_err().to_string(), "items = 0: must be 1 or more");
    /// ```
    pub fn validate(&self) -> Result<(), KgError> {
        let refuse = |rule| {
            let value = self.items.to_string();
            Err(KgError::Config { key: "items", value, rule })
        };
        match self.items {
            0 => refuse("1 or more"),
            1..=MOST_ITEMS => Ok(()),
            _ => refuse("100 million or less"),
        }
    }

    /// Writes `train-context-en-question-en.json`, and English contexts of `dev` and `test` with
    /// questions in each of `languages`, into `folder`.
    ///
    /// # Errors
    /// As [`FactQuestions::validate`], [`EntitySplit::divide`], [`build_questions`] and
    /// [`QuestionSet::write_dir`](super::QuestionSet::write_dir).
    pub fn write(
        &self,
        graph: &KnowledgeGraph,
        templates: &TemplateSet,
        languages: &[Language],
        folder: &Path,
    ) -> Result<FactReport, KgError> {
        self.validate()?;
        let mut report = FactReport::default();
        let split: SplitHeads = self.split.divide(graph)?;
        let training = QuestionConfig {
            counterfactual: true,
            count: Some(self.items),
            question_languages: vec!["en".into()],
            ..QuestionConfig::default()
        };
        let set = build_questions(graph, templates, "train", &split.train, &training)?;
        set.write_dir(folder)?;
        report.splits.push(("train", set.report));
        let truthful = QuestionConfig {
            question_languages: languages.iter().map(Language::to_string).collect(),
            ..QuestionConfig::default()
        };
        for name in ["dev", "test"] {
            let set = build_questions(graph, templates, name, split.get(name)?, &truthful)?;
            set.write_dir(folder)?;
            report.splits.push((name, set.report));
        }
        Ok(report)
    }

    /// Writes questions about the same facts in each of `languages`, each set a translation of the
    /// others: `train-context-xx-question-xx.json`, questions in the first language's contexts with
    /// all wordings, and contexts of `dev` and `test` in each language with questions in each.
    ///
    /// # Errors
    /// As [`FactQuestions::validate`], [`EntitySplit::divide`], [`build_parallel_questions`] and
    /// [`QuestionSet::write_dir`](super::QuestionSet::write_dir).
    pub fn write_parallel(
        &self,
        graph: &KnowledgeGraph,
        templates: &TemplateSet,
        languages: &[Language],
        folder: &Path,
    ) -> Result<FactReport, KgError> {
        self.validate()?;
        let mut report = FactReport::default();
        let split: SplitHeads = self.split.divide(graph)?;
        let truthful = QuestionConfig {
            context_language: languages.first().map(Language::to_string).unwrap_or_default(),
            question_languages: languages.iter().map(Language::to_string).collect(),
            ..QuestionConfig::default()
        };
        let training =
            QuestionConfig { counterfactual: true, count: Some(self.items), ..truthful.clone() };
        for (name, config) in [("train", &training), ("dev", &truthful), ("test", &truthful)] {
            let heads = split.get(name)?;
            let sets = build_parallel_questions(graph, templates, name, heads, config, languages)?;
            report.splits.extend(sets.first().map(|set| (name, set.report)));
            for mut set in sets {
                let context = set.context_language;
                if name == "train" && Some(&context) != languages.first() {
                    let items = set.items.iter_mut();
                    items
                        .for_each(|item| item.questions.retain(|language, _| *language == context));
                }
                set.write_dir(folder)?;
            }
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_items_is_refused_by_its_own_key() {
        let refuse = |items| FactQuestions { items, ..Default::default() }.validate().unwrap_err();
        assert_eq!(refuse(0).to_string(), "items = 0: must be 1 or more");
        let error = refuse(1_000_000_000_000).to_string();
        assert_eq!(error, "items = 1000000000000: must be 100 million or less");
        assert!(FactQuestions::default().validate().is_ok());
    }

    #[test]
    fn facts_that_are_left_out_are_told_where_there_are_some() {
        let split = |facts, without_words, without_context, items| QuestionReport {
            facts,
            without_words,
            without_context,
            items,
        };
        let all = FactReport { splits: vec![("train", split(5, 0, 0, 40))] };
        assert_eq!(all.to_string(), "questions from facts: train 40");
        let splits = vec![("train", split(5, 1, 0, 40)), ("test", split(9, 2, 3, 4))];
        let want = "questions from facts: train 40, test 4; facts left out, as a label or template \
                    is missing: 3 of 14; items left out, as no other fact stands beside theirs: 3";
        assert_eq!(FactReport { splits }.to_string(), want);
    }
}
