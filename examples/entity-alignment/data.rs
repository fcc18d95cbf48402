//! Graphs of entities with texts and neighbours, and the vectors and pairs of a setting.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use experiment::{Experiment, Trial};
use kg_triples::entity_linking::{EntityPage, LinkedText, page_files, read_pages};
use kg_triples::jsonl::JsonlReader;
use mlqa_eval::Language;
use ndarray::{Array1, Array2, Axis};
use rand::Rng;
use rand::seq::SliceRandom;
use tasks::entity_alignment::Neighbours;
use tasks::text_pairs::text_vectors;
use torch_ext::{seeded_randn, to_i64};
use trainer::{rng_for, seed_for};

use crate::recipe::{Modality, Recipe, Setting};

/// The entities of one language.
pub struct Graph {
    pub ids: Vec<String>,
    /// The index of each id.
    indices: BTreeMap<String, usize>,
    texts: Vec<String>,
    pub neighbours: Neighbours,
}

/// The graphs of English and of the other languages.
pub type Graphs = BTreeMap<Language, Graph>;

/// Vectors of all entities' texts, computed once.
pub type Texts = BTreeMap<Language, Array2<f32>>;

/// Reads the entities that have a label, and their neighbours.
pub fn read(experiment: &Experiment<Recipe>) -> Result<Graphs> {
    let Recipe { data, languages, text, .. } = &experiment.recipe;
    let used: BTreeSet<Language> = languages.iter().copied().chain([Language::EN]).collect();
    let files: Vec<_> =
        page_files(&data.entities)?.into_iter().filter(|(code, _)| used.contains(code)).collect();
    let mut entities: BTreeMap<Language, BTreeMap<String, String>> = BTreeMap::new();
    read_pages(&files, |language, EntityPage { id, label, description, .. }| {
        let is_not_blank = |text: &String| !text.trim().is_empty();
        if let Some(label) = label.filter(is_not_blank) {
            let description = description.filter(is_not_blank).filter(|_| text.descriptions);
            let description = description.map(|text| format!(": {text}"));
            let text = [text.prefix.clone(), label].into_iter().chain(description).collect();
            entities.entry(language).or_default().insert(id, text);
        }
        Ok(())
    })?;
    let mut pages: BTreeMap<Language, Vec<LinkedText>> = BTreeMap::new();
    for page in JsonlReader::<LinkedText>::open(&data.links)? {
        let page = page?;
        pages.entry(page.language).or_default().push(page);
    }
    let mut graphs = Graphs::new();
    for language in used {
        let missing = |file: &std::path::Path, what: &str| {
            format!("{}: no {what} in the language {language}", file.display())
        };
        let entities = entities
            .remove(&language)
            .with_context(|| missing(&data.entities, "entities with labels"))?;
        let pages =
            pages.remove(&language).with_context(|| missing(&data.links, "linked pages"))?;
        let (ids, texts): (Vec<String>, Vec<String>) = entities.into_iter().unzip();
        let indices: BTreeMap<String, usize> = ids.iter().cloned().zip(0..).collect();
        let neighbours = Neighbours::of_mentions(&indices, &pages)?;
        let (count, degree) = (ids.len(), neighbours.mean_degree());
        experiment.log(format!("{language}: {count} entities with {degree:.1} neighbours"));
        graphs.insert(language, Graph { ids, indices, texts, neighbours });
    }
    Ok(graphs)
}

/// Computes the vectors of all texts.
pub fn encode<A>(trial: &Trial<Recipe, A>, graphs: &Graphs) -> Result<Texts> {
    let Recipe { model, text, .. } = trial.recipe;
    let base = trial.load(&model.path, &[], model.segments)?;
    let vectors = |(&language, graph): (&Language, &Graph)| {
        let (model, tokenizer) = (&base.model, &base.tokenizer);
        let (pooling, length, batch_size) = (text.pooling, text.max_length, text.batch_size);
        let texts = &graph.texts;
        let vectors = text_vectors(model, tokenizer, texts, pooling, length, batch_size)?;
        Ok((language, vectors))
    };
    graphs.iter().map(vectors).collect()
}

/// Known and held-out pairs of an English entity and an entity of another language.
pub struct Pairs {
    pub train: Vec<(usize, usize)>,
    pub test: Vec<(usize, usize)>,
}

/// Splits the entities of both graphs at random.
pub fn split(recipe: &Recipe, [english, other]: [&Graph; 2], seed: u64) -> Result<Pairs> {
    let counterpart = |(index, id): (usize, &String)| Some((index, *other.indices.get(id)?));
    let mut pairs: Vec<(usize, usize)> =
        english.ids.iter().enumerate().filter_map(counterpart).collect();
    pairs.shuffle(&mut rng_for(seed, "pairs", 0));
    let known = (recipe.known * pairs.len() as f64).round() as usize;
    let count = pairs.len();
    ensure!(
        known >= 2 && known < count,
        "known = {}: of {count} entities in both languages, at least 2 must be known and 1 must be \
         held out",
        recipe.known
    );
    let test = pairs.split_off(known);
    Ok(Pairs { train: pairs, test })
}

/// Returns the text vectors of a graph in a setting, `[N, D]`: centred and of length 1; zero for the
/// entities whose text is missing. The entities without text at a lower share are also without text
/// at a higher share.
pub fn known_texts(
    vectors: &Array2<f32>,
    language: Language,
    setting: &Setting,
    seed: u64,
) -> Result<Array2<f32>> {
    let has_text: Vec<bool> = (0..vectors.nrows())
        .map(|row| {
            let mut rng = rng_for(seed, &format!("missing {language}"), row as u64);
            rng.random::<f64>() >= setting.missing
        })
        .collect();
    let present: Vec<usize> =
        (0..).zip(&has_text).filter(|(_, has_text)| **has_text).map(|(row, _)| row).collect();
    let mean = vectors.select(Axis(0), &present).mean_axis(Axis(0));
    let mean = mean.with_context(|| format!("{language}: no entity has a text"))?;
    let mut known = vectors - &mean;
    for (mut row, has_text) in known.outer_iter_mut().zip(has_text) {
        let norm = row.dot(&row).sqrt();
        let scale = if has_text && norm > 0.0 { norm.recip() } else { 0.0 };
        row.mapv_inplace(|value| value * scale);
    }
    Ok(known)
}

/// Applies the arm's modalities and noise to text or structure vectors.
pub fn apply_arm(
    trial: &Trial<Recipe>,
    language: Language,
    modality: Modality,
    mut vectors: Array2<f32>,
) -> Result<Array2<f32>> {
    if !trial.arm.modalities.contains(&modality) {
        vectors.fill(0.0);
    } else if trial.arm.noise {
        let seed = seed_for(trial.seed, &format!("noise {modality:?} {language}"), 0);
        fill_with_noise(&mut vectors, seed)?;
    }
    Ok(vectors)
}

/// Replaces rows of zeros by random numbers with the mean and standard deviation of the other rows,
/// in every dimension.
fn fill_with_noise(vectors: &mut Array2<f32>, seed: i64) -> Result<()> {
    let is_present = |row: &usize| vectors.row(*row).iter().any(|value| *value != 0.0);
    let (present, missing): (Vec<usize>, Vec<usize>) = (0..vectors.nrows()).partition(is_present);
    let known = vectors.select(Axis(0), &present);
    let Some(mean) = known.mean_axis(Axis(0)) else { return Ok(()) };
    let deviation: Array1<f32> = known.std_axis(Axis(0), 0.0);
    let (rows, width) = (missing.len(), vectors.ncols());
    let normal = seeded_randn(&[to_i64(rows), to_i64(width)], seed)?;
    let normal = Vec::<f32>::try_from(normal.view([-1]))?;
    for (row, normal) in missing.into_iter().zip(normal.chunks(width)) {
        let values = normal.iter().zip(mean.iter().zip(&deviation));
        let values = values.map(|(normal, (mean, deviation))| mean + deviation * normal);
        vectors.row_mut(row).iter_mut().zip(values).for_each(|(slot, value)| *slot = value);
    }
    Ok(())
}
