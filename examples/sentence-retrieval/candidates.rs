//! Entities with names and descriptions in several languages, and the candidate descriptions of a
//! name, from BM25 and from vectors.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use bm25::{Embedder, EmbedderBuilder, Scorer};
use experiment::Trial;
use kg_triples::entity_linking::{EntityPage, page_files, read_pages};
use mlqa_eval::Language;
use ndarray::Array2;
use rand::seq::SliceRandom;
use tasks::reranking::CandidateList;
use trainer::rng_for;
use transfer_eval::xnli::{NliConfig, NliExample, NliLabel, encode_nli};
use xlmr_model::Pretrained;

use crate::evaluate::unit_vectors;
use crate::lexical::WordTokenizer;
use crate::recipe::Recipe;

/// Names and descriptions of entities in all languages.
#[derive(Default)]
pub struct Entities {
    /// Names by language; the texts at an index are those of one entity.
    names: BTreeMap<Language, Vec<String>>,
    descriptions: BTreeMap<Language, Vec<String>>,
    /// Indices of the entities for training and for testing. Entities are in random order.
    train: Vec<usize>,
    test: Vec<usize>,
}

impl Entities {
    /// Reads the entities that have a name and a description in every language. Entities whose
    /// description in a language is that of an earlier entity are excluded, because no model could
    /// tell them apart.
    pub fn read(recipe: &Recipe) -> Result<Self> {
        let (folder, options) = (&recipe.data.entities, &recipe.reranking);
        let mut texts: BTreeMap<String, BTreeMap<Language, (String, String)>> = BTreeMap::new();
        let files = page_files(folder)?;
        let files: Vec<_> = files
            .into_iter()
            .filter(|(language, _)| options.languages.contains(language))
            .collect();
        let mut known: BTreeSet<(Language, String)> = BTreeSet::new();
        read_pages(&files, |language, page| {
            let EntityPage { id, label: Some(name), description: Some(description), .. } = page
            else {
                return Ok(());
            };
            let is_new = known.insert((language, description.clone()));
            if is_new && !name.trim().is_empty() && !description.trim().is_empty() {
                texts.entry(id).or_default().insert(language, (name, description));
            }
            Ok(())
        })?;
        texts.retain(|_, texts| texts.len() == options.languages.len());
        let mut texts: Vec<_> = texts.into_values().collect();
        texts.shuffle(&mut rng_for(0, "entities", 0));
        texts.truncate(options.max_entities);
        let mut entities = Self::default();
        let count = texts.len();
        for (language, (name, description)) in texts.into_iter().flatten() {
            entities.names.entry(language).or_default().push(name);
            entities.descriptions.entry(language).or_default().push(description);
        }
        let test_count = (count as f64 * options.held_out).round() as usize;
        entities.test = (0..test_count.min(count)).collect();
        entities.train = (test_count.min(count)..count).collect();
        ensure!(
            !entities.train.is_empty() && !entities.test.is_empty(),
            "{}: {count} entities have names and descriptions in {} languages, which are too few for \
             reranking.held_out = {}",
            folder.display(),
            options.languages.len(),
            options.held_out
        );
        ensure!(
            options.candidates <= count,
            "reranking.candidates = {}: there are {count} entities",
            options.candidates
        );
        Ok(entities)
    }
}

/// A name and its candidates, from the most similar description on.
pub struct Candidates {
    pub query: Language,
    pub candidate: Language,
    /// Indices of the entities in the list.
    entities: Vec<usize>,
    /// Index of the query's entity.
    gold: usize,
    /// Scores of the listed entities.
    prior: Vec<f32>,
    /// Ranks of the correct description among all descriptions: by BM25, by vectors, and by the mean
    /// of both scores. The correct description is ranked after others with its score.
    pub ranks: [usize; 3],
}

/// The generator: descriptions and vectors of all entities.
pub struct Generator<'a> {
    entities: &'a Entities,
    size: usize,
    names: BTreeMap<Language, Array2<f32>>,
    descriptions: BTreeMap<Language, Array2<f32>>,
    lexical: BTreeMap<Language, Lexical>,
}

type Lexical = (Embedder<u32, WordTokenizer>, Scorer<usize>);

impl<'a> Generator<'a> {
    /// Computes the vectors of all texts with the encoder before training.
    pub fn new(trial: &Trial<Recipe>, entities: &'a Entities) -> Result<Self> {
        let recipe = trial.recipe;
        let base = trial.load(&recipe.model.path, &[], recipe.model.segments)?;
        let prefixed = |texts: &BTreeMap<Language, Vec<String>>, prefix: &str| {
            let add_prefix = |text: &String| format!("{prefix}{text}");
            let texts = texts.iter().map(|(language, texts)| {
                (*language, texts.iter().map(add_prefix).collect::<Vec<_>>())
            });
            unit_vectors(recipe, &base, &texts.collect())
        };
        let lexical = |(&language, texts): (&Language, &Vec<String>)| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let embedder: Embedder<u32, WordTokenizer> =
                EmbedderBuilder::with_tokenizer_and_fit_to_corpus(WordTokenizer, &texts).build();
            let mut scorer = Scorer::new();
            for (index, text) in texts.iter().enumerate() {
                scorer.upsert(&index, embedder.embed(text));
            }
            (language, (embedder, scorer))
        };
        Ok(Self {
            entities,
            size: recipe.reranking.candidates,
            names: prefixed(&entities.names, &recipe.prefixes.query)?,
            descriptions: prefixed(&entities.descriptions, &recipe.prefixes.passage)?,
            lexical: entities.descriptions.iter().map(lexical).collect(),
        })
    }

    /// Returns the candidates of the training names: one list for each entity and language of its
    /// name, with descriptions in a random language.
    pub fn train(&self, recipe: &Recipe, seed: u64) -> Vec<Candidates> {
        let languages = &recipe.reranking.languages;
        let mut lists = Vec::new();
        for &entity in &self.entities.train {
            let mut rng = rng_for(seed, "candidate languages", entity as u64);
            let mut order = languages.clone();
            order.shuffle(&mut rng);
            let pairs = languages.iter().zip(order);
            lists
                .extend(pairs.map(|(&query, candidate)| self.candidates(entity, query, candidate)));
        }
        lists
    }

    /// Returns the candidates of the held-out names, for each pair of languages.
    pub fn test(&self, recipe: &Recipe) -> Vec<Candidates> {
        let options = &recipe.reranking;
        let mut lists = Vec::new();
        for &query in &options.languages {
            for &candidate in &options.languages {
                let entities = self.entities.test.iter().take(options.queries);
                lists.extend(entities.map(|&entity| self.candidates(entity, query, candidate)));
            }
        }
        lists
    }

    fn candidates(&self, gold: usize, query: Language, candidate: Language) -> Candidates {
        let dense = self.descriptions[&candidate].dot(&self.names[&query].row(gold));
        let mut lexical = vec![0.0_f32; dense.len()];
        let (embedder, scorer) = &self.lexical[&candidate];
        for found in scorer.matches(&embedder.embed(&self.entities.names[&query][gold])) {
            lexical[found.id] = found.score;
        }
        // Both scores have the range of a cosine.
        let max = lexical.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        lexical.iter_mut().for_each(|score| *score /= max);
        let dense = dense.to_vec();
        let prior: Vec<f32> = lexical.iter().zip(&dense).map(|(a, b)| (a + b) / 2.0).collect();
        let rank = |scores: &[f32]| scores.iter().filter(|&&s| s >= scores[gold]).count();
        let ranks = [rank(&lexical), rank(&dense), rank(&prior)];
        let mut entities: Vec<usize> = (0..prior.len()).collect();
        entities.sort_by(|&a, &b| prior[b].total_cmp(&prior[a]).then(a.cmp(&b)));
        entities.truncate(self.size);
        let prior = entities.iter().map(|&entity| prior[entity]).collect();
        Candidates { query, candidate, entities, gold, prior, ranks }
    }

    /// Encodes each name with its candidates as inputs of a cross-encoder.
    pub fn encode(
        &self,
        lists: &[Candidates],
        model: &Pretrained,
        max_length: usize,
    ) -> Result<Vec<CandidateList>> {
        let encode = |list: &Candidates| {
            let name = &self.entities.names[&list.query][list.gold];
            let pair = |&entity: &usize| NliExample {
                language: list.query.to_string(),
                premise: name.clone(),
                hypothesis: self.entities.descriptions[&list.candidate][entity].clone(),
                label: NliLabel::Neutral, // not used
                line: 0,
            };
            let pairs: Vec<NliExample> = list.entities.iter().map(pair).collect();
            let inputs = encode_nli(&pairs, &model.tokenizer, &NliConfig { max_length })?;
            Ok(CandidateList {
                pairs: inputs.into_iter().map(|input| input.input_ids).collect(),
                prior: list.prior.clone(),
                gold: list.entities.iter().position(|&entity| entity == list.gold),
            })
        };
        lists.iter().map(encode).collect::<Result<_>>().context("candidates")
    }
}

impl Candidates {
    /// Returns the rank of the correct description after re-ranking by `scores`. A description
    /// outside of the list keeps its rank, and a description in the list is ranked after others with
    /// its score.
    pub fn reranked(&self, scores: &[f32]) -> usize {
        match self.entities.iter().position(|&entity| entity == self.gold) {
            Some(gold) => scores.iter().filter(|&&score| score >= scores[gold]).count(),
            None => self.ranks[2].max(self.entities.len() + 1),
        }
    }
}
