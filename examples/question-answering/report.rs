//! What is logged before a run, and the scores after it.
use std::path::PathBuf;

use anyhow::Result;
use experiment::log;
use mlqa_eval::{Dataset, Language, Normalization, Predictions, WindowConfig, score};
use results::Table;
use serde::{Deserialize, Serialize};
use tasks::question_answering::TrainingQuestions;
use trainer::FitReport;

use crate::recipe::Recipe;

/// What training alone knows.
#[derive(Clone, Deserialize, Serialize)]
pub struct Trained {
    questions: usize,
    without_answer: usize,
    steps: u64,
    final_loss: f64,
    seconds: f64,
}

impl Trained {
    pub fn new(questions: usize, without_answer: usize, fitted: &FitReport) -> Self {
        let FitReport { steps, final_loss, seconds, .. } = *fitted;
        Self { questions, without_answer, steps, final_loss, seconds }
    }
}

/// F1 and exact match in percent, under MLQA's rules for the language and under SQuAD's.
#[derive(Serialize)]
pub struct Scores {
    questions: usize,
    /// Not scored.
    without_answer: usize,
    language: Language,
    f1: f64,
    exact_match: f64,
    squad_f1: f64,
    squad_exact_match: f64,
}

impl Scores {
    /// The scores of the questions that have gold answers; `None` if none has.
    pub fn of(dev: &Dataset, answers: &Predictions, language: Language) -> Result<Option<Self>> {
        let mut gold = dev.clone();
        gold.questions.retain(|question| !question.answers.is_empty());
        if gold.questions.is_empty() {
            return Ok(None);
        }
        let mlqa = score(&gold, answers, Normalization::Mlqa(language))?;
        let squad = score(&gold, answers, Normalization::SquadEn)?;
        Ok(Some(Self {
            questions: mlqa.questions,
            without_answer: dev.questions.len() - mlqa.questions,
            language,
            f1: mlqa.f1,
            exact_match: mlqa.exact_match,
            squad_f1: squad.f1,
            squad_exact_match: squad.exact_match,
        }))
    }
}

/// `summary.json`.
#[derive(Serialize)]
pub struct Summary {
    pub windows: WindowConfig,
    pub training: Option<Trained>,
    pub scores: Option<Scores>,
}

/// Logs what is trained on, and in which windows.
pub fn announce(recipe: &Recipe, train: Option<&(TrainingQuestions, usize)>) {
    if let Some((train, without_answer)) = train {
        let left_out = match without_answer {
            0 => String::new(),
            count => format!("; {count} without an answer are left out"),
        };
        log(format!("{} training questions{left_out}", train.questions.len()));
    }
    let (windows, usual) = (&recipe.windows, WindowConfig::default().max_length);
    if windows.max_length < usual {
        let WindowConfig { max_length, doc_stride, max_question_length, .. } = windows;
        log(format!(
            "windows of {max_length} tokens (usual: {usual}), {doc_stride} of them shared, questions \
             of up to {max_question_length}; --set windows.max_length=N changes that, up to the \
             model's positions"
        ));
    }
}

/// The scores as a table, and what they leave out.
pub fn table(dev: Option<&Dataset>, scores: Option<&Scores>) -> (String, String) {
    let Some(dev) = dev else { return Default::default() };
    let file: PathBuf = dev.path.file_name().unwrap_or_default().into();
    let file = file.display();
    let Some(scores) = scores else {
        return (String::new(), format!("{file} has no answers, so nothing is scored."));
    };
    let mut table = Table::new(format!("{file}, {} questions", scores.questions), ["F1", "EM"]);
    let percent = |value: f64| format!("{value:.2}");
    let rules = format!("MLQA's rules for {}", scores.language);
    table.row(rules, [scores.f1, scores.exact_match].map(percent));
    table.row("SQuAD's rules", [scores.squad_f1, scores.squad_exact_match].map(percent));
    let remark = match scores.without_answer {
        0 => String::new(),
        count => format!("{count} questions without an answer are not scored."),
    };
    (table.to_string(), remark)
}
