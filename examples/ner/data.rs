//! Training, development and test sentences of a run.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use rand::seq::SliceRandom;
use transfer_eval::ner::{Sentence, read_ner};

use crate::recipe::{Data, HeldOut};

/// By language.
pub type Sets = BTreeMap<String, Vec<Sentence>>;

/// All sentences of a run.
pub struct Sentences {
    pub train: Vec<Sentence>,
    pub dev: Sets,
    pub test: Sets,
}

impl Sentences {
    /// Reads the files and holds out what the recipe asks for.
    pub fn read(data: &Data) -> Result<Self> {
        let all = |files: &BTreeMap<String, std::path::PathBuf>| -> Result<Sets> {
            files.iter().map(|(code, path)| Ok((code.clone(), read_ner(path, None)?))).collect()
        };
        let (mut train, mut dev) = (read_ner(&data.train, None)?, all(&data.dev)?);
        if let Some(held_out) = &data.held_out {
            let (rest, held) = divide(train, held_out);
            ensure!(
                !rest.is_empty(),
                "data.held_out.share = {}: nothing is left to train on",
                held_out.share
            );
            train = rest;
            dev.insert("en".into(), held);
        }
        Ok(Self { train, dev, test: all(&data.test)? })
    }
}

/// (rest, held out), whole documents each, in the order of the file.
fn divide(sentences: Vec<Sentence>, held_out: &HeldOut) -> (Vec<Sentence>, Vec<Sentence>) {
    let documents: Vec<String> = sentences.iter().enumerate().map(document).collect();
    let mut names: Vec<&String> = documents.iter().collect::<BTreeSet<_>>().into_iter().collect();
    names.shuffle(&mut trainer::rng_for(held_out.seed, "held out", 0));
    let wanted = held_out.share * sentences.len() as f64;
    let mut chosen: BTreeSet<&String> = BTreeSet::new();
    let mut count = 0;
    for name in names {
        if count as f64 >= wanted {
            break;
        }
        count += documents.iter().filter(|document| *document == name).count();
        chosen.insert(name);
    }
    let (held, rest): (Vec<_>, Vec<_>) =
        sentences.into_iter().zip(&documents).partition(|(_, document)| chosen.contains(document));
    let plain = |pairs: Vec<(Sentence, &String)>| pairs.into_iter().map(|(one, _)| one).collect();
    (plain(rest), plain(held))
}

/// Universal Dependencies number the sentences of a document behind a hyphen; any other sentence stands alone.
fn document((index, sentence): (usize, &Sentence)) -> String {
    let id = sentence.id.as_deref().and_then(|id| id.rsplit_once('-'));
    id.map_or_else(|| format!("{index:09}"), |(document, _)| document.to_owned())
}
