//! Reduces a tokenizer's vocabulary to the entries in use.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

/// A `tokenizer.json` whose vocabulary was trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// The new `tokenizer.json`.
    pub json: String,
    /// The former id of each entry, indexed by the new id; ascending.
    pub former_ids: Vec<u32>,
}

/// Reduces the vocabulary of a `tokenizer.json` to the entries of `used` and the entries that are
/// required for arbitrary texts: added tokens, the unknown token, single characters (with WordPiece
/// also continuations of one character) and byte tokens. The order of the entries is preserved.
///
/// Texts whose tokens are all in `used` have the same tokens as before: the best segmentation of a
/// Unigram model and the longest matches of WordPiece consist of retained entries, and all BPE
/// merges that lead to these tokens are retained.
///
/// # Errors
/// A description of the problem: the text is not a JSON object, the model is not Unigram, WordPiece
/// or BPE, a BPE model has dropout, prefixes or suffixes, or an id is not in the vocabulary.
///
/// # Example
/// ```
/// use tokenizer_file::{parse, trim};
///
/// let path = "../testkit/fixtures/wordpiece.json".as_ref();
/// let json = std::fs::read_to_string(path)?;
/// let encoding = parse(&json, path)?.encode("Berlin", false).map_err(|e| e.to_string())?;
/// let trimmed = trim(&json, &encoding.get_ids().iter().copied().collect())?;
/// let after = parse(&trimmed.json, path)?.encode("Berlin", false).map_err(|e| e.to_string())?;
/// assert_eq!(after.get_tokens(), encoding.get_tokens());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn trim(json: &str, used: &BTreeSet<u32>) -> Result<Trimmed, String> {
    let mut file: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let added = added_tokens(&file)?;
    let model = Model::of(&file["model"])?;
    let mut retained = model.retained_ids(used);
    retained.extend(added.iter().filter_map(|(token, _)| model.ids.get(token.as_str())));
    let mut former_ids: BTreeSet<u32> = retained.clone();
    former_ids.extend(added.iter().map(|&(_, id)| id));
    let former_ids: Vec<u32> = former_ids.into_iter().collect();
    let new_ids: HashMap<u32, u32> = (0..).zip(&former_ids).map(|(new, &old)| (old, new)).collect();
    model.reduce(&mut file["model"], &retained, &new_ids)?;
    for token in file["added_tokens"].as_array_mut().into_iter().flatten() {
        replace_id(&mut token["id"], &new_ids)?;
    }
    replace_processor_ids(&mut file["post_processor"], &new_ids)?;
    if file["padding"].is_object() {
        replace_id(&mut file["padding"]["pad_id"], &new_ids)?;
    }
    Ok(Trimmed { json: file.to_string(), former_ids })
}

/// Returns the texts and ids of the added tokens.
fn added_tokens(file: &Value) -> Result<Vec<(String, u32)>, String> {
    let text_and_id = |token: &Value| {
        let id = token["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        let pair = token["content"].as_str().map(str::to_owned).zip(id);
        pair.ok_or_else(|| format!("added_tokens: expected content and id, found {token}"))
    };
    file["added_tokens"].as_array().into_iter().flatten().map(text_and_id).collect()
}

/// The vocabulary and the BPE merges in the field `model` of a `tokenizer.json`.
struct Model {
    kind: Kind,
    ids: HashMap<String, u32>,
    /// The unknown token and, for Unigram, the entry with the lowest score, which determines the
    /// cost of unknown characters.
    required: Vec<u32>,
    merges: Vec<[String; 2]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unigram,
    /// `uses_hash_prefix`: pieces that continue a word start with `##`.
    WordPiece {
        uses_hash_prefix: bool,
    },
    Bpe,
}

impl Model {
    fn of(model: &Value) -> Result<Self, String> {
        let has_merges = model["merges"].is_array();
        match model["type"].as_str() {
            Some("Unigram") => Self::from_unigram(model),
            Some("WordPiece") => Self::from_id_map(
                model,
                Kind::WordPiece { uses_hash_prefix: model["continuing_subword_prefix"] == "##" },
            ),
            Some("BPE") if has_merges => {
                for key in ["dropout", "continuing_subword_prefix", "end_of_word_suffix"] {
                    let value = &model[key];
                    if !value.is_null() && value != "" {
                        return Err(format!("model.{key}: expected none, found {value}"));
                    }
                }
                Self::from_id_map(model, Kind::Bpe)
            }
            model_type => Err(format!(
                "model.type: expected Unigram, WordPiece or BPE, found {}",
                model_type.unwrap_or("none")
            )),
        }
    }

    fn from_unigram(model: &Value) -> Result<Self, String> {
        let Some(entries) = model["vocab"].as_array() else {
            return Err("model.vocab: expected a list of tokens and scores".into());
        };
        let mut ids = HashMap::with_capacity(entries.len());
        let mut lowest_entry: Option<(f64, u32)> = None;
        for (id, entry) in (0..).zip(entries) {
            let (Some(token), Some(score)) = (entry[0].as_str(), entry[1].as_f64()) else {
                return Err(format!("model.vocab: expected a token and its score, found {entry}"));
            };
            ids.insert(token.to_owned(), id);
            if lowest_entry.is_none_or(|(lowest_score, _)| score < lowest_score) {
                lowest_entry = Some((score, id));
            }
        }
        let unknown = model["unk_id"].as_u64().and_then(|id| u32::try_from(id).ok());
        let required = lowest_entry.map(|(_, id)| id).into_iter().chain(unknown).collect();
        Ok(Self { kind: Kind::Unigram, ids, required, merges: Vec::new() })
    }

    fn from_id_map(model: &Value, kind: Kind) -> Result<Self, String> {
        let Some(entries) = model["vocab"].as_object() else {
            return Err("model.vocab: expected an object with tokens and ids".into());
        };
        let mut ids = HashMap::with_capacity(entries.len());
        for (token, id) in entries {
            let checked_id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = checked_id.ok_or_else(|| format!("model.vocab: {token}: expected an id"))?;
            ids.insert(token.clone(), id);
        }
        let unknown = model["unk_token"].as_str().and_then(|token| ids.get(token)).copied();
        let merges = model["merges"].as_array().into_iter().flatten();
        let merges = merges.map(|merge| {
            let tokens = match merge {
                Value::String(text) => text.split_once(' '),
                pair => pair[0].as_str().zip(pair[1].as_str()),
            };
            let (first, second) = tokens
                .ok_or_else(|| format!("model.merges: expected two tokens, found {merge}"))?;
            match [first, second].into_iter().find(|token| !ids.contains_key(*token)) {
                Some(token) => Err(format!("model.merges: {token:?} is not in the vocabulary")),
                None => Ok([first.to_owned(), second.to_owned()]),
            }
        });
        let merges = merges.collect::<Result<_, String>>()?;
        Ok(Self { kind, ids, required: unknown.into_iter().collect(), merges })
    }

    /// Returns the ids of the entries to retain: `used`, and the entries required for arbitrary
    /// texts.
    fn retained_ids(&self, used: &BTreeSet<u32>) -> BTreeSet<u32> {
        let is_character = |token: &str| {
            let text = match self.kind {
                Kind::WordPiece { uses_hash_prefix: true } => {
                    token.strip_prefix("##").unwrap_or(token)
                }
                _ => token,
            };
            text.chars().nth(1).is_none()
        };
        let is_byte =
            |token: &str| token.len() == 6 && token.starts_with("<0x") && token.ends_with('>');
        let retained_id = |(token, id): (&String, &u32)| {
            let is_retained = used.contains(id) || is_character(token) || is_byte(token);
            is_retained.then_some(*id)
        };
        let mut retained: BTreeSet<u32> = self.ids.iter().filter_map(retained_id).collect();
        retained.extend(&self.required);
        // Retain both tokens of every merge whose result is retained, recursively.
        loop {
            let previous_count = retained.len();
            for [first, second] in &self.merges {
                let merged = self.ids.get(&format!("{first}{second}"));
                if merged.is_some_and(|id| retained.contains(id)) {
                    retained.extend([self.ids[first], self.ids[second]]);
                }
            }
            if retained.len() == previous_count {
                break;
            }
        }
        retained
    }

    /// Removes all entries except `retained` from the model of the file, and renumbers the
    /// remaining entries.
    fn reduce(
        &self,
        model: &mut Value,
        retained: &BTreeSet<u32>,
        new_ids: &HashMap<u32, u32>,
    ) -> Result<(), String> {
        if self.kind == Kind::Unigram {
            if let Some(entries) = model["vocab"].as_array_mut() {
                let mut id = 0..;
                entries.retain(|_| id.next().is_some_and(|id| retained.contains(&id)));
            }
            if !model["unk_id"].is_null() {
                replace_id(&mut model["unk_id"], new_ids)?;
            }
            return Ok(());
        }
        let vocabulary: BTreeMap<&String, u32> = self
            .ids
            .iter()
            .filter(|(_, id)| retained.contains(id))
            .map(|(token, id)| (token, new_ids[id]))
            .collect();
        let contains = |token: &String| vocabulary.contains_key(token);
        let merges: Vec<&[String; 2]> = self
            .merges
            .iter()
            .filter(|[first, second]| {
                contains(first) && contains(second) && contains(&format!("{first}{second}"))
            })
            .collect();
        if self.kind == Kind::Bpe {
            model["merges"] = json!(merges);
        }
        model["vocab"] = json!(vocabulary);
        Ok(())
    }
}

/// Replaces a former id by its new id.
fn replace_id(id: &mut Value, new_ids: &HashMap<u32, u32>) -> Result<(), String> {
    let former = id.as_u64().and_then(|id| u32::try_from(id).ok());
    let new = former.and_then(|former| new_ids.get(&former));
    let new = new.ok_or_else(|| format!("expected the id of a special token, found {id}"))?;
    *id = json!(new);
    Ok(())
}

/// Replaces all ids of a post-processor: `ids` of templates, and the pairs `sep` and `cls` of BERT
/// and RoBERTa.
fn replace_processor_ids(processor: &mut Value, new_ids: &HashMap<u32, u32>) -> Result<(), String> {
    match processor {
        Value::Array(values) => {
            values.iter_mut().try_for_each(|value| replace_processor_ids(value, new_ids))
        }
        Value::Object(keys) => keys.iter_mut().try_for_each(|(key, value)| match key.as_str() {
            "ids" => {
                let ids = value.as_array_mut().into_iter().flatten();
                ids.into_iter().try_for_each(|id| replace_id(id, new_ids))
            }
            "sep" | "cls" if value.is_array() => replace_id(&mut value[1], new_ids),
            _ => replace_processor_ids(value, new_ids),
        }),
        _ => Ok(()),
    }
}
