//! SentencePiece models laid out as XLM-R's, as the `tokenizer.json` that transformers makes of
//! them.
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::{Value, json};

/// Bytes of the longest model that is read: nearly twice the longest in use (XLM-V, 18 MB).
pub(crate) const LONGEST: u64 = 32 << 20;

/// Characters of the longest piece: as many as SentencePiece's trainer can be told to allow.
const LONGEST_PIECE: usize = 512;

/// `sentencepiece_model.proto`, as far as it is read here.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer_spec: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer_spec: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, tag = "1")]
    piece: String,
    #[prost(float, tag = "2")]
    score: f32,
    /// Not stated for the usual ones.
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct TrainerSpec {
    /// Not stated for `UNIGRAM`.
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(bool, tag = "35")]
    byte_fallback: bool,
}

#[derive(Clone, PartialEq, Message)]
struct NormalizerSpec {
    #[prost(bytes = "vec", tag = "2")]
    precompiled_charsmap: Vec<u8>,
}

/// `SentencePiece.Type`: tokens that no text has of itself.
const CONTROL: i32 = 3;
/// Pieces that are found in a text before it is normalised and split.
const USER_DEFINED: i32 = 4;
/// Bytes of characters that are no piece.
const BYTE: i32 = 6;
/// `TrainerSpec.ModelType`, of which the first is read.
const UNIGRAM: i32 = 1;
const BPE: i32 = 2;

/// The pieces that a model begins with, in fairseq's models `<s>`, `<pad>`, `</s>` and `<unk>`.
const FIRST: [&str; 3] = ["<unk>", "<s>", "</s>"];
const SPECIAL: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];
const MASK: &str = "<mask>";

/// The mark of a space.
const SPACE: &str = "▁";

/// The `tokenizer.json` of a model; the error is what is wrong with it.
pub(crate) fn to_json(bytes: &[u8]) -> Result<String, String> {
    let model = Model::decode(bytes)
        .map_err(|error| format!("it is damaged: {error}; copy it from the model's page again"))?;
    let pieces = checked(&model)?;
    let special = SPECIAL.into_iter().map(|name| (name, 0.0));
    let others = pieces.iter().map(|piece| (piece.piece.as_str(), f64::from(piece.score)));
    let vocab: Vec<(&str, f64)> = special.chain(others).chain([(MASK, 0.0)]).collect();
    let added: Vec<Value> = vocab
        .iter()
        .enumerate()
        .filter_map(|(id, &(name, _))| {
            let place = id.checked_sub(SPECIAL.len());
            let kind = place.and_then(|place| pieces.get(place)).map(Piece::kind);
            match kind {
                None | Some(CONTROL) => Some(added_token(id, name, true)),
                Some(USER_DEFINED) => Some(added_token(id, name, false)),
                Some(_) => None,
            }
        })
        .collect();
    let mut normalizers =
        vec![json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})];
    let charsmap = model.normalizer_spec.as_ref().map(|spec| &spec.precompiled_charsmap);
    if let Some(charsmap) = charsmap.filter(|charsmap| !charsmap.is_empty()) {
        let packed = STANDARD.encode(charsmap);
        normalizers.insert(0, json!({"type": "Precompiled", "precompiled_charsmap": packed}));
    }
    let metaspace = json!({
        "type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": true
    });
    let around = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace.clone()]
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template(&["<s>", "A", "</s>"]),
            "pair": template(&["<s>", "A", "</s>", "</s>", "B", "</s>"]),
            "special_tokens": {"<s>": around("<s>", 0), "</s>": around("</s>", 2)}
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": false}
    });
    Ok(format!("{tokenizer:#}\n"))
}

/// The pieces after the first three of a model that is laid out as XLM-R's.
fn checked(model: &Model) -> Result<&[Piece], String> {
    let (Some(trainer), Some(_)) = (&model.trainer_spec, &model.normalizer_spec) else {
        // They stand behind the pieces.
        return Err("it has no trainer_spec or no normalizer_spec, as where its end is cut off; \
                    copy it from the model's page again"
            .into());
    };
    let other = |what: String| {
        Err(format!(
            "{what}; expected a Unigram model without byte_fallback, as XLM-R's; {CONVERT}"
        ))
    };
    match trainer.model_type {
        None | Some(UNIGRAM) => (),
        Some(BPE) => return other("it is a BPE model".into()),
        Some(number) => return other(format!("it is a model of type {number}")),
    }
    if trainer.byte_fallback || model.pieces.iter().any(|piece| piece.kind() == BYTE) {
        return other("it spells unknown characters as bytes (byte_fallback)".into());
    }
    let names: Vec<&str> = model.pieces.iter().take(3).map(|piece| piece.piece.as_str()).collect();
    let Some((_, pieces)) = model.pieces.split_at_checked(FIRST.len()).filter(|_| names == FIRST)
    else {
        return Err(format!(
            "its pieces begin with {names:?}; expected {FIRST:?}, as XLM-R's do; {CONVERT}"
        ));
    };
    if pieces.is_empty() {
        return Err(format!("it has no pieces but {FIRST:?}; copy it from the model's page again"));
    }
    let mut seen: HashSet<&str> = SPECIAL.into_iter().chain([MASK]).collect();
    for (number, Piece { piece, score, .. }) in (FIRST.len()..).zip(pieces) {
        let problem = if piece.is_empty() {
            "is empty".into()
        } else if piece.chars().nth(LONGEST_PIECE).is_some() {
            format!("is longer than {LONGEST_PIECE} characters")
        } else if !score.is_finite() {
            format!("({piece:?}) has the score {score}; expected a finite number")
        } else if !seen.insert(piece) {
            format!("({piece:?}) is there twice, or is a special token of XLM-R")
        } else {
            continue;
        };
        return Err(format!("its piece {number} {problem}; take the file of the model's page"));
    }
    Ok(pieces)
}

/// What to do with a tokenizer of another kind.
pub(crate) const CONVERT: &str = "transformers writes the tokenizer.json of others: \
     AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)";

fn added_token(id: usize, content: &str, special: bool) -> Value {
    // The mask takes the space before it.
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": content == MASK,
        "rstrip": false, "normalized": false, "special": special
    })
}

/// A template of tokens and, as `A` and `B`, texts.
fn template(parts: &[&str]) -> Value {
    let part = |part: &&str| match *part {
        text @ ("A" | "B") => json!({"Sequence": {"id": text, "type_id": 0}}),
        token => json!({"SpecialToken": {"id": token, "type_id": 0}}),
    };
    parts.iter().map(part).collect()
}
