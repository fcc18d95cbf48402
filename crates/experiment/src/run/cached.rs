//! The two parts of a trial, training and evaluation, and their records. A part is computed again
//! only if its identity (the settings and inputs that determine its results) changes.
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trainer::Environment;

use crate::files::sha256;
use crate::identity::Identity;
use crate::identity::Part;
use crate::run::evaluation_files::{
    FileSizes, evaluation_file_sizes, first_damaged_file, model_file_sizes, write_stored_models,
};
use crate::run::folder::remove_checkpoints;
use crate::{Error, Recipe, Result, Trial, TrialResult, log, read_json, write_json};

/// File with the training identity of a trial, written when training starts.
const IDENTITY_FILE: &str = "identity.json";
const TRAINED_FILE: &str = "trained.json";
const RESULT_FILE: &str = "result.json";

/// Contents of `trained.json` or `result.json`.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    /// Return value of the recipe's training or evaluation function.
    value: Value,
    /// Duration of the training stages or of the evaluation in seconds.
    seconds: f64,
    /// Tokens seen in training, without padding.
    tokens: u64,
    /// Environment of the computation.
    environment: Environment,
    /// Sizes in bytes of the files that training or evaluation wrote.
    #[serde(default, skip_serializing_if = "FileSizes::is_empty")]
    files: FileSizes,
    /// SHA-256 of `value`, `seconds` and `tokens`, to detect manual changes.
    sha256: String,
    /// Identity of the training.
    training: Identity,
    /// Identity of the evaluation; absent in `trained.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluation: Option<Identity>,
    /// `sha256` of the training record on which the evaluation is based; absent in `trained.json`.
    #[serde(rename = "trained", skip_serializing_if = "Option::is_none")]
    training_sha256: Option<String>,
}

impl Record {
    fn digest(value: &Value, seconds: f64, tokens: u64) -> String {
        sha256(format!("{value} {seconds:?} {tokens}").as_bytes())
    }

    /// Reads a record; `None` if it does not exist.
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

    /// Deserialises the value; errors name `path`, the record's file.
    fn parse_value<T: DeserializeOwned>(&self, path: &Path) -> Result<T> {
        T::deserialize(&self.value).map_err(|error| {
            let advice = "written by another version; remove the file to compute it again";
            Error::content(path, format!("{error}; {advice}"))
        })
    }
}

/// Identities of a trial and the paths of its records.
struct Records {
    training: Identity,
    evaluation: Identity,
    identity_path: PathBuf,
    trained_path: PathBuf,
    result_path: PathBuf,
}

impl Records {
    fn of<R: Recipe, A>(trial: &Trial<'_, R, A>) -> Self {
        let recipe_values = &trial.experiment.recipe_values;
        let identity = |part| {
            recipe_values.trial_identity(part, trial.seed, trial.name, trial.variant.as_deref())
        };
        Self {
            training: identity(Part::Training),
            evaluation: identity(Part::Evaluation),
            identity_path: trial.dir(IDENTITY_FILE),
            trained_path: trial.dir(TRAINED_FILE),
            result_path: trial.dir(RESULT_FILE),
        }
    }

    /// Rejects a record with another training identity.
    fn check_training(&self, path: &Path, stored: &Identity) -> Result<()> {
        match stored.difference(&self.training) {
            None => Ok(()),
            Some(difference) => {
                let difference = difference.to_string();
                Err(Error::AnotherRecipe { path: path.to_owned(), difference })
            }
        }
    }

    /// The record of a finished training.
    fn read_training(&self) -> Result<Option<Record>> {
        let record = Record::read(&self.trained_path)?;
        if let Some(record) = &record {
            self.check_training(&self.trained_path, &record.training)?;
        }
        Ok(record)
    }

    /// The record of the evaluation, unless it is outdated or one of its files was removed or
    /// truncated. Prints the damaged file. `run` is the run folder.
    fn read_undamaged_evaluation(&self, trained: &Record, run: &Path) -> Result<Option<Record>> {
        let record = self.read_evaluation(trained)?;
        let damaged_file =
            record.as_ref().and_then(|record| first_damaged_file(run, &record.files));
        let Some((path, description)) = damaged_file else { return Ok(record) };
        log(format!("{}: {description}; evaluating again", path.display()));
        Ok(None)
    }

    /// The record of the evaluation, if it has the current evaluation identity and is based on the
    /// training record `trained`.
    fn read_evaluation(&self, trained: &Record) -> Result<Option<Record>> {
        let Some(record) = Record::read(&self.result_path)? else { return Ok(None) };
        self.check_training(&self.result_path, &record.training)?;
        let is_current = record.evaluation.as_ref() == Some(&self.evaluation)
            && record.training_sha256.as_ref() == Some(&trained.sha256);
        Ok(is_current.then_some(record))
    }
}

/// Rejects a trial whose folder comes from another recipe, or whose trained model was removed or
/// truncated. Computes nothing.
pub(crate) fn check_unchanged<R: Recipe, A>(trial: &Trial<'_, R, A>) -> Result<()> {
    let records = Records::of(trial);
    if records.identity_path.exists() {
        records.check_training(&records.identity_path, &read_json(&records.identity_path)?)?;
    }
    let Some(trained) = records.read_training()? else { return Ok(()) };
    records.read_evaluation(&trained)?;
    match first_damaged_file(&trial.experiment.folder, &trained.files) {
        None => Ok(()),
        Some((path, description)) => {
            let record = records.trained_path.display();
            let advice = format!("restore it, or remove {record} to train again");
            Err(Error::content(path, format!("{description}; {advice}")))
        }
    }
}

/// Returns whether [`compute_or_load`] would only load the records of a trial.
pub(crate) fn has_results<R: Recipe, A>(trial: &Trial<'_, R, A>) -> Result<bool> {
    let records = Records::of(trial);
    let Some(trained) = records.read_training()? else { return Ok(false) };
    let record = records.read_evaluation(&trained)?;
    let run = &trial.experiment.folder;
    Ok(record.is_some_and(|record| first_damaged_file(run, &record.files).is_none()))
}

/// Computes both parts of a trial, or loads their records.
pub(crate) fn compute_or_load<R: Recipe, A, T, E>(
    trial: &Trial<'_, R, A>,
    train: impl FnOnce(&Trial<'_, R, A>) -> anyhow::Result<T>,
    evaluate: impl FnOnce(&Trial<'_, R, A>, &T) -> anyhow::Result<E>,
) -> Result<TrialResult<T, E>>
where
    T: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned,
{
    let records = Records::of(trial);
    let trial_error = |source| Error::Trial { trial: trial.label(), source };
    let ranks = &trial.experiment.ranks;
    let stored_record = ranks.compute_on_rank_0(|| records.read_training())?;
    let (trained_value, trained_record) = match stored_record {
        Some(record) => {
            ranks.link_finished(&trial.folder, &trial.experiment.folder)?;
            (record.parse_value(&records.trained_path)?, record)
        }
        None => {
            trial.experiment.check_inputs()?;
            write_json(&records.identity_path, &records.training)?;
            let value = train(trial).map_err(trial_error)?;
            let run = &trial.experiment.folder;
            let record = Record {
                training: records.training.clone(),
                files: model_file_sizes(run, &trial.folder)?,
                ..new_record(trial, &records.trained_path, &value, trial.seconds(), trial.tokens())?
            };
            write_json(&records.trained_path, &record)?;
            (value, record)
        }
    };
    if ranks.is_rank_0() {
        remove_checkpoints(&trial.folder)?;
        write_stored_models(&trial.folder, &[trial.dir("model"), trial.run_dir("model")])?;
    }
    // Only rank 0 evaluates.
    let run = &trial.experiment.folder;
    let evaluation_record = ranks.compute_on_rank_0(|| {
        match records.read_undamaged_evaluation(&trained_record, run)? {
            Some(record) => Ok(record),
            None => {
                trial.experiment.check_inputs()?;
                let start = Instant::now();
                let value = evaluate(trial, &trained_value).map_err(trial_error)?;
                let seconds = start.elapsed().as_secs_f64();
                let record = Record {
                    training: records.training.clone(),
                    evaluation: Some(records.evaluation.clone()),
                    training_sha256: Some(trained_record.sha256.clone()),
                    files: evaluation_file_sizes(run, &trial.folder)?,
                    ..new_record(trial, &records.result_path, &value, seconds, 0)?
                };
                write_json(&records.result_path, &record)?;
                Ok(record)
            }
        }
    })?;
    let evaluated_value = evaluation_record.parse_value(&records.result_path)?;
    Ok(TrialResult {
        seed: trial.seed,
        arm: trial.name.to_owned(),
        variant: trial.variant.clone(),
        trained: trained_value,
        evaluated: evaluated_value,
        tokens: trained_record.tokens,
        seconds: trained_record.seconds + evaluation_record.seconds,
    })
}

/// Creates a record without identities. Errors name `path`, the record's file.
fn new_record<R: Recipe, A, T: Serialize + DeserializeOwned>(
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
        training_sha256: None,
    };
    // Rejects values without a JSON representation, such as NaN, before they are written.
    T::deserialize(&record.value).map_err(|error| {
        Error::content(path, format!("the result cannot be read back from JSON: {error}"))
    })?;
    Ok(record)
}
