//! The two parts of a trial and their records: each is computed once for one identity.
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trainer::Environment;

use crate::evaluation_files::{
    FileSizes, first_fault, of_evaluation, of_model, write_stored_models,
};
use crate::folder::remove_checkpoints;
use crate::identity::Identity;
use crate::recipe_values::Part;
use crate::{Error, Recipe, Result, Trial, TrialResult, digest, log, read_json, write_json};

/// What a trial that was begun is trained from.
const BEGUN: &str = "identity.json";
const TRAINED: &str = "trained.json";
const EVALUATED: &str = "result.json";

/// A record as it is stored: `trained.json` or `result.json`.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    /// What the recipe's function returned.
    value: Value,
    /// Seconds of the stages or of the evaluation.
    seconds: f64,
    /// Tokens seen in training, padding left out.
    tokens: u64,
    /// What it was computed on.
    environment: Environment,
    /// Bytes of the files that were left: those of the model, or those of the evaluation.
    #[serde(default, skip_serializing_if = "FileSizes::is_empty")]
    files: FileSizes,
    /// SHA-256 of value, seconds and tokens, so that a record that was changed by hand is noticed.
    sha256: String,
    /// What decided it.
    training: Identity,
    /// The same for the evaluation alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluation: Option<Identity>,
    /// The `sha256` of the training that was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    trained: Option<String>,
}

impl Record {
    fn digest(value: &Value, seconds: f64, tokens: u64) -> String {
        digest::of_bytes(format!("{value} {seconds:?} {tokens}").as_bytes())
    }

    /// Reads a record; `None` where there is none.
    fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let advice = "; remove the file to compute it again";
        let record: Self = read_json(path).map_err(|error| match error {
            Error::Content { path, reason } => Error::Content { path, reason: reason + advice },
            other => other,
        })?;
        if record.sha256 != Self::digest(&record.value, record.seconds, record.tokens) {
            return Err(Error::content(path, format!("changed since it was written{advice}")));
        }
        Ok(Some(record))
    }

    fn value<T: DeserializeOwned>(&self, path: &Path) -> Result<T> {
        T::deserialize(&self.value).map_err(|error| {
            let advice = "written by another version; remove the file to compute it again";
            Error::content(path, format!("{error}; {advice}"))
        })
    }
}

/// What decides a trial, and where its records are.
struct Records {
    training: Identity,
    evaluation: Identity,
    begun: PathBuf,
    trained: PathBuf,
    evaluated: PathBuf,
}

impl Records {
    fn of<R: Recipe, A>(trial: &Trial<'_, R, A>) -> Self {
        let leaves = &trial.experiment.leaves;
        let part = |part| leaves.trial(part, trial.seed, trial.name, trial.variant.as_deref());
        Self {
            training: part(Part::Training),
            evaluation: part(Part::Evaluation),
            begun: trial.dir(BEGUN),
            trained: trial.dir(TRAINED),
            evaluated: trial.dir(EVALUATED),
        }
    }

    /// Refuses what was trained from something else.
    fn check_training(&self, path: &Path, stored: &Identity) -> Result<()> {
        match stored.difference(&self.training) {
            None => Ok(()),
            Some(difference) => {
                let difference = difference.to_string();
                Err(Error::AnotherRecipe { path: path.to_owned(), difference })
            }
        }
    }

    /// The training's record, if it was finished.
    fn read_trained(&self) -> Result<Option<Record>> {
        let record = Record::read(&self.trained)?;
        if let Some(record) = &record {
            self.check_training(&self.trained, &record.training)?;
        }
        Ok(record)
    }

    /// The evaluation's record, if it holds still: it is computed again where a file that it left
    /// was removed or cut.
    fn read_complete(&self, trained: &Record, run: &Path) -> Result<Option<Record>> {
        let record = self.read_evaluated(trained)?;
        let fault = record.as_ref().and_then(|record| first_fault(run, &record.files));
        let Some((path, what)) = fault else { return Ok(record) };
        log(format!("{}: {what}; evaluating again", path.display()));
        Ok(None)
    }

    /// The evaluation's record, if it was made from this training and these inputs.
    fn read_evaluated(&self, trained: &Record) -> Result<Option<Record>> {
        let Some(record) = Record::read(&self.evaluated)? else { return Ok(None) };
        self.check_training(&self.evaluated, &record.training)?;
        let current = record.evaluation.as_ref() == Some(&self.evaluation)
            && record.trained.as_ref() == Some(&trained.sha256);
        Ok(current.then_some(record))
    }
}

/// Refuses a trial whose folder comes from another recipe, or whose trained model was removed or
/// cut; nothing is computed yet.
pub(crate) fn check_fit<R: Recipe, A>(trial: &Trial<'_, R, A>) -> Result<()> {
    let records = Records::of(trial);
    if records.begun.exists() {
        records.check_training(&records.begun, &read_json(&records.begun)?)?;
    }
    let Some(trained) = records.read_trained()? else { return Ok(()) };
    records.read_evaluated(&trained)?;
    match first_fault(&trial.experiment.folder, &trained.files) {
        None => Ok(()),
        Some((path, what)) => {
            let record = records.trained.display();
            let advice = format!("restore it, or remove {record} to train again");
            Err(Error::content(path, format!("{what}; {advice}")))
        }
    }
}

/// Both parts of a trial, each computed unless its record is there.
pub(crate) fn compute<R: Recipe, A, T, E>(
    trial: &Trial<'_, R, A>,
    train: impl FnOnce(&Trial<'_, R, A>) -> anyhow::Result<T>,
    evaluate: impl FnOnce(&Trial<'_, R, A>, &T) -> anyhow::Result<E>,
) -> Result<TrialResult<T, E>>
where
    T: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned,
{
    let records = Records::of(trial);
    let failed = |source| Error::Trial { trial: trial.label(), source };
    let ranks = &trial.experiment.ranks;
    let (training, trained) = match ranks.of_lead(|| records.read_trained())? {
        Some(record) => {
            ranks.link_finished(&trial.folder, &trial.experiment.folder)?;
            (record.value(&records.trained)?, record)
        }
        None => {
            trial.experiment.check_inputs()?;
            write_json(&records.begun, &records.training)?;
            let value = train(trial).map_err(failed)?;
            let record = record(trial, &records.trained, &value, trial.seconds(), trial.tokens())?;
            let (training, run) = (records.training.clone(), &trial.experiment.folder);
            let record = Record { training, files: of_model(run, &trial.folder)?, ..record };
            write_json(&records.trained, &record)?;
            (value, record)
        }
    };
    if ranks.leads() {
        remove_checkpoints(&trial.folder)?;
        write_stored_models(&trial.folder, &[trial.dir("model"), trial.run_dir("model")])?;
    }
    // The first rank alone evaluates.
    let run = &trial.experiment.folder;
    let evaluated = ranks.of_lead(|| match records.read_complete(&trained, run)? {
        Some(record) => Ok(record),
        None => {
            trial.experiment.check_inputs()?;
            let start = Instant::now();
            let value = evaluate(trial, &training).map_err(failed)?;
            let seconds = start.elapsed().as_secs_f64();
            let record = Record {
                training: records.training.clone(),
                evaluation: Some(records.evaluation.clone()),
                trained: Some(trained.sha256.clone()),
                files: of_evaluation(run, &trial.folder)?,
                ..record(trial, &records.evaluated, &value, seconds, 0)?
            };
            write_json(&records.evaluated, &record)?;
            Ok(record)
        }
    })?;
    let evaluation = evaluated.value(&records.evaluated)?;
    Ok(TrialResult {
        seed: trial.seed,
        arm: trial.name.to_owned(),
        variant: trial.variant.clone(),
        trained: training,
        evaluated: evaluation,
        tokens: trained.tokens,
        seconds: trained.seconds + evaluated.seconds,
    })
}

/// A record without what decided it.
fn record<R: Recipe, A, T: Serialize + DeserializeOwned>(
    trial: &Trial<'_, R, A>,
    path: &Path,
    value: &T,
    seconds: f64,
    tokens: u64,
) -> Result<Record> {
    let value = serde_json::to_value(value).map_err(|error| Error::content(path, error))?;
    let record = Record {
        sha256: Record::digest(&value, seconds, tokens),
        value,
        seconds,
        tokens,
        environment: trial.experiment.runtime.environment.clone(),
        files: FileSizes::new(),
        training: Identity::default(),
        evaluation: None,
        trained: None,
    };
    // A number that JSON cannot hold would be found out at the next start only.
    T::deserialize(&record.value).map_err(|error| {
        Error::content(path, format!("the result cannot be read back from JSON: {error}"))
    })?;
    Ok(record)
}
