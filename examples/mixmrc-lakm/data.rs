//! Questions, their translations, and passages with knowledge phrases: a user's, or the embedded stand-ins.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use examples::search::search;
use kg_triples::KnowledgeGraph;
use kg_triples::jsonl::JsonlReader;
use kg_triples::phrases::{PhraseMiner, PhrasePassage, mine_passages};
use kg_triples::questions::{
    QuestionConfig, QuestionSet, SplitHeads, TemplateSet, build_parallel_questions,
};
use mlqa_eval::{Answer, Dataset, DatasetName, Language, Question};
use qa_translate::{Mixed, TranslateReport, Translated, mix, parallel};

use crate::recipe::{Facts, Recipe};

/// What the arms of a run train on.
pub struct Material {
    /// D: the source language's questions.
    pub source: Dataset,
    /// D': their translations.
    pub translated: Vec<Translated>,
    /// D'': question and passage in two languages.
    pub mixed: Mixed,
    /// Passages of LAKM.
    pub phrases: Vec<PhrasePassage>,
    /// Folder of the questions to be answered.
    pub evaluation: PathBuf,
    /// Lines about what was found.
    pub report: String,
}

impl Material {
    /// Reads, or makes, what the arms to run ask for. Questions made from facts are kept below `folder`.
    pub fn load(recipe: &Recipe, folder: &Path) -> Result<Self> {
        let languages = recipe.parsed_languages()?;
        let (source, translated, evaluation) = match &recipe.data.facts {
            Some(facts) => told(recipe, facts, &languages, &folder.join("questions"))?,
            None => read(recipe, &languages)?,
        };
        let mixed = mix(&source, &translated, &recipe.mix)?;
        let mut report = format!(
            "{} questions in {}; translated: ",
            source.questions.len(),
            recipe.mix.source_language
        );
        let counts: Vec<String> = translated
            .iter()
            .map(|own| format!("{} {}", own.dataset.questions.len(), own.language))
            .collect();
        report.push_str(&format!("{}; mixed: {} rows", counts.join(", "), mixed.rows.len()));
        let wanted = recipe.run_arms.iter().filter_map(|name| recipe.arms.get(name));
        let phrases = if wanted.into_iter().any(|arm| arm.lakm.is_some()) {
            let (phrases, found) = phrases(recipe)?;
            report.push_str(&format!("\n{found}"));
            phrases
        } else {
            Vec::new()
        };
        Ok(Self { source, translated, mixed, phrases, evaluation, report })
    }

    /// D, and D' where an arm reads it: question and passage in one language.
    pub fn unmixed(&self, translated: bool) -> Vec<Question> {
        let mut all = self.source.questions.clone();
        if translated {
            all.extend(self.translated.iter().flat_map(|own| own.dataset.questions.clone()));
        }
        all
    }

    /// D''.
    pub fn mixed(&self) -> Vec<Question> {
        self.mixed.rows.iter().map(|row| row.question.clone()).collect()
    }
}

type Questions = (Dataset, Vec<Translated>, PathBuf);

/// A user's questions and the folder that `qa-translate translate` wrote.
fn read(recipe: &Recipe, languages: &[Language]) -> Result<Questions> {
    let source = Dataset::read(&recipe.data.train)?;
    let asked = recipe.run_arms.iter().filter_map(|name| recipe.arms.get(name));
    let mut translated = Vec::new();
    if asked.into_iter().any(|arm| arm.translated || arm.mixed) {
        for &language in languages.iter().skip(1) {
            let dataset = Dataset::read(recipe.translated_file(language, language))?;
            let questions = if recipe.mix.require_pair {
                Dataset { questions: Vec::new(), ..source.clone() }
            } else {
                Dataset::read(recipe.translated_file(recipe.mix.source_language, language))?
            };
            let report = TranslateReport::default();
            translated.push(Translated { language, dataset, questions, report });
        }
    }
    Ok((source, translated, recipe.data.evaluation.clone()))
}

/// Questions about facts, told alike in all languages: each is a translation of the others.
fn told(
    recipe: &Recipe,
    facts: &Facts,
    languages: &[Language],
    folder: &Path,
) -> Result<Questions> {
    let graph = KnowledgeGraph::read_dir(&facts.kg)?;
    let templates = TemplateSet::read(&facts.templates)?;
    let split: SplitHeads = facts.split.divide(&graph)?;
    let truthful = QuestionConfig {
        context_language: recipe.mix.source_language.to_string(),
        question_languages: recipe.languages.clone(),
        ..QuestionConfig::default()
    };
    let training =
        QuestionConfig { counterfactual: true, count: Some(facts.items), ..truthful.clone() };
    let sets =
        build_parallel_questions(&graph, &templates, "train", &split.train, &training, languages)?;
    let mut files = Vec::new();
    for (set, &language) in sets.iter().zip(languages) {
        let dataset = dataset(set, language, folder)?;
        dataset.write(&dataset.path)?;
        files.push((language, dataset));
    }
    let mut files = files.into_iter();
    let (_, source) = files.next().context("languages")?;
    let translated =
        files.map(|(language, own)| parallel(&source, &own, language)).collect::<Result<_, _>>()?;
    for name in ["dev", "test"] {
        let heads = split.get(name)?;
        for set in build_parallel_questions(&graph, &templates, name, heads, &truthful, languages)?
        {
            set.write_dir(folder)?;
        }
    }
    Ok((source, translated, folder.to_owned()))
}

/// A set with the questions in its own language.
fn dataset(set: &QuestionSet, language: Language, folder: &Path) -> Result<Dataset> {
    let name = DatasetName { split: set.split.clone(), context: language, question: language };
    let questions = set
        .items
        .iter()
        .map(|item| {
            let question = item.questions.get(&set.context_language).context("question")?;
            Ok(Question {
                id: item.id.clone(),
                question: question.text.clone(),
                context: Arc::from(item.context.as_str()),
                answers: vec![Answer {
                    text: item.answer.clone(),
                    answer_start: item.answer_start,
                }],
                title: Arc::from(""),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Dataset { path: folder.join(name.to_string()), version: Some("1.1".into()), questions })
}

/// Passages with knowledge phrases, and a line about them.
fn phrases(recipe: &Recipe) -> Result<(Vec<PhrasePassage>, String)> {
    let Some(from) = &recipe.data.search else {
        let path = &recipe.data.phrases;
        let passages: Vec<PhrasePassage> =
            JsonlReader::<PhrasePassage>::open(path)?.collect::<Result<_, _>>()?;
        ensure!(!passages.is_empty(), "{}: no passage", path.display());
        let line = format!("{} passages with phrases", passages.len());
        return Ok((passages, line));
    };
    let miner = PhraseMiner::new(from.mining.clone())?;
    let (passages, reports) = mine_passages(search(&from.documents)?.into_iter().map(Ok), &miner)?;
    ensure!(
        !passages.is_empty(),
        "data.search: no passage with a phrase; lower mining.title_fraction"
    );
    let counts: Vec<String> =
        reports.iter().map(|(language, own)| format!("{} {language}", own.passages)).collect();
    let line = format!("passages with phrases: {}", counts.join(", "));
    Ok((passages, line))
}
