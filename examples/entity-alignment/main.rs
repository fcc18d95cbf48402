//! Aligns the entities of two languages by text and neighbours where texts are missing, with the
//! training of *UMAEA* (Chen et al. 2023) without images.
mod data;
mod recipe;
mod report;
mod train;

use std::process::ExitCode;

use anyhow::{Context, Result};
use data::{Graphs, Texts};
use experiment::{Experiment, Trial};
use ndarray::Array2;
use recipe::{Recipe, Setting};
use report::{Scores, SettingScores};
use tch::Tensor;
use torch_ext::{read_tensors, write_tensors};
use train::{Added, align};
use transfer_eval::retrieval::{RankConfig, rank_by_csls, rank_candidates};

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let graphs = data::read(experiment)?;
    // The encoder is not trained, so all arms and seeds use the same text vectors.
    let mut texts = None;
    let train = |trial: &Trial<Recipe>| {
        let texts = match &mut texts {
            Some(texts) => texts,
            none => none.insert(data::encode(trial, &graphs)?),
        };
        train_settings(trial, &graphs, texts)
    };
    let results = experiment.each(train, |trial, _| evaluate(trial))?;
    report::write(experiment, &results)
}

/// Trains all settings, and stores the joint vectors of the held-out entities.
fn train_settings(trial: &Trial<Recipe>, graphs: &Graphs, texts: &Texts) -> Result<Vec<Added>> {
    atomic_file::fs::create_dir_all(trial.dir("model"))?;
    let mut added = Vec::new();
    for setting in trial.recipe.settings() {
        let aligned = align(trial, setting, graphs, texts)?;
        let [english, other] = &aligned.vectors;
        let (english, other) = (Tensor::try_from(english)?, Tensor::try_from(other)?);
        write_tensors(path(trial, &setting), [("english", &english), ("other", &other)], &[])?;
        added.push(aligned.added);
    }
    Ok(added)
}

/// The file with the joint vectors of a setting.
fn path(trial: &Trial<Recipe>, setting: &Setting) -> std::path::PathBuf {
    trial.dir("model").join(format!("{}.safetensors", setting.name()))
}

/// Ranks the held-out entities of the other language for each English entity, and vice versa.
fn evaluate(trial: &Trial<Recipe>) -> Result<Scores> {
    let neighbours = trial.recipe.evaluation.neighbours;
    let score = |setting: Setting| {
        let path = path(trial, &setting);
        let mut tensors = read_tensors(&path)?;
        let mut vectors = |name: &str| -> Result<Array2<f32>> {
            let missing = || format!("{}: no tensor {name}", path.display());
            let tensor = tensors.remove(name).with_context(missing)?;
            let (rows, width) = tensor.size2()?;
            let values = Vec::<f32>::try_from(tensor.contiguous().view([-1]))?;
            Ok(Array2::from_shape_vec((rows as usize, width as usize), values)?)
        };
        let (english, other) = (vectors("english")?, vectors("other")?);
        let gold: Vec<usize> = (0..english.nrows()).collect();
        let mut scores = SettingScores { setting, cosine: Vec::new(), csls: Vec::new() };
        for (queries, candidates) in [(&english, &other), (&other, &english)] {
            let (queries, candidates) = (queries.view(), candidates.view());
            let config = RankConfig::default();
            scores.cosine.extend(rank_candidates(queries, candidates, &gold, &config)?);
            scores.csls.extend(rank_by_csls(queries, candidates, &gold, neighbours)?);
        }
        Ok(scores)
    };
    Ok(Scores { settings: trial.recipe.settings().into_iter().map(score).collect::<Result<_>>()? })
}
