//! Questions, their translations, and passages with knowledge phrases: a user's, or the embedded
//! stand-ins.
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use examples::search::search;
use kg_triples::KnowledgeGraph;
use kg_triples::jsonl::JsonlReader;
use kg_triples::phrases::{PhraseMiner, PhrasePassage, mine_passages};
use kg_triples::questions::TemplateSet;
use mlqa_eval::{Dataset, Question};
use qa_translate::{Translated, mix, read_translations};
use tasks::question_answering::check_files;

use crate::recipe::Recipe;

/// What the arms of a run train on.
pub struct TrainingData {
    /// D: the source language's questions.
    source: Dataset,
    /// D': their translations.
    translated: Vec<Translated>,
    /// D'': question and passage in two languages.
    pub mixed: Vec<Question>,
    /// Passages of LAKM.
    pub phrases: Vec<PhrasePassage>,
    /// Folder of the questions to be answered.
    pub evaluation: PathBuf,
    /// Lines about what was found.
    pub report: String,
}

impl TrainingData {
    /// Reads what the selected arms need. Questions made from facts are written to `made` first.
    pub fn load(recipe: &Recipe, made: &Path) -> Result<Self> {
        let (data, languages, mut report) = (&recipe.data, &recipe.languages, String::new());
        let (mut train, mut folder, mut evaluation) =
            (data.train.to_path_buf(), &*data.translated, &*data.evaluation);
        if data.templates.is_set() {
            let graph = KnowledgeGraph::read_dir(&data.kg)?;
            let templates = TemplateSet::read(&data.templates)?;
            data.facts.write_parallel(&graph, &templates, languages, made)?;
            train = recipe.train_file(made);
            (folder, evaluation) = (made, made);
        }
        let (source, source_language) = (Dataset::read(train)?, recipe.mix.source_language);
        let (mut translated, mut mixed, mut phrases) = (Vec::new(), Vec::new(), Vec::new());
        if recipe.selected().any(|arm| arm.translated || arm.mixed) {
            let (others, reworded) = (&languages[1..], !recipe.mix.require_pair);
            translated = read_translations(folder, "train", source_language, others, reworded)?;
            let rows = mix(&source, &translated, &recipe.mix)?.rows;
            mixed = rows.into_iter().map(|row| row.question).collect();
        }
        let count = |one: &Translated| format!("{} {}", one.dataset.questions.len(), one.language);
        let counts: Vec<String> = translated.iter().map(count).collect();
        report.push_str(&format!(
            "{} questions in {source_language}; translated: {}; mixed: {} rows",
            source.questions.len(),
            counts.join(", "),
            mixed.len()
        ));
        if recipe.selected().any(|arm| arm.lakm.is_some()) {
            phrases = phrase_passages(recipe)?;
            report.push_str(&format!("\n{} passages with phrases", phrases.len()));
        }
        check_files(&recipe.evaluation.files(evaluation, languages))?;
        let evaluation = evaluation.to_path_buf();
        Ok(Self { source, translated, mixed, phrases, evaluation, report })
    }

    /// D, and D' where an arm reads it: question and passage in one language.
    pub fn same_language(&self, translated: bool) -> Vec<Question> {
        let mut questions = self.source.questions.clone();
        if translated {
            let others = self.translated.iter().flat_map(|other| other.dataset.questions.clone());
            questions.extend(others);
        }
        questions
    }
}

fn phrase_passages(recipe: &Recipe) -> Result<Vec<PhrasePassage>> {
    if let Some(stand_in) = &recipe.data.search {
        let miner = PhraseMiner::new(stand_in.mining.clone())?;
        let documents = search(&stand_in.documents)?.into_iter().map(Ok);
        let (passages, _) = mine_passages(documents, &miner)?;
        ensure!(!passages.is_empty(), "data.search: no phrase; lower mining.title_fraction");
        return Ok(passages);
    }
    let path = &recipe.data.phrases;
    let passages: Vec<PhrasePassage> = JsonlReader::open(path)?.collect::<Result<_, _>>()?;
    ensure!(!passages.is_empty(), "{}: no passage", path.display());
    Ok(passages)
}
