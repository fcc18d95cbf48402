//! SentencePiece models laid out as XLM-R's or as DeBERTa's, as the `tokenizer.json` that
//! transformers makes of them.
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::{Map, Value, json};

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

/// How the models of a family are laid out.
struct Family {
    name: &'static str,
    /// The pieces that a model begins with.
    first: &'static [&'static str],
    /// The tokens that stand in their place, of which the last is the unknown one.
    special: [&'static str; 4],
    before: usize,
    after: usize,
    /// How often the token after a text stands between two.
    separators: usize,
    mask: &'static str,
    /// Whether the second of two texts is of type 1.
    types: bool,
}

impl Family {
    /// The token before a text and the one after it.
    fn around(&self) -> [(&'static str, usize); 2] {
        [self.before, self.after].map(|id| (self.special.get(id).copied().unwrap_or(""), id))
    }
}

/// In fairseq's models the special tokens have another order than in SentencePiece's.
const XLM_R: Family = Family {
    name: "XLM-R",
    first: &["<unk>", "<s>", "</s>"],
    special: ["<s>", "<pad>", "</s>", "<unk>"],
    before: 0,
    after: 2,
    separators: 2,
    mask: "<mask>",
    types: false,
};

const DEBERTA: Family = Family {
    name: "DeBERTa",
    first: &DEBERTA_SPECIAL,
    special: DEBERTA_SPECIAL,
    before: 1,
    after: 2,
    separators: 1,
    mask: "[MASK]",
    types: true,
};
const DEBERTA_SPECIAL: [&str; 4] = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"];

const FAMILIES: [&Family; 2] = [&XLM_R, &DEBERTA];

/// The mark of a space.
const SPACE: &str = "▁";

/// The `tokenizer.json` of a model; the error is what is wrong with it.
pub(crate) fn to_json(bytes: &[u8]) -> Result<String, String> {
    let model = Model::decode(bytes)
        .map_err(|error| format!("it is damaged: {error}; copy it from the model's page again"))?;
    let (family, pieces) = checked(&model)?;
    let deberta = family.name == DEBERTA.name;
    let special = family.special.into_iter().map(|name| (name, 0.0));
    let others = pieces.iter().map(|piece| (piece.piece.as_str(), f64::from(piece.score)));
    let mut vocab: Vec<(&str, f64)> = special.chain(others).chain([(family.mask, 0.0)]).collect();
    let added: Vec<Value> = vocab
        .iter()
        .enumerate()
        .filter_map(|(id, &(name, _))| {
            let place = id.checked_sub(family.special.len());
            let kind = place.and_then(|place| pieces.get(place)).map(Piece::kind);
            // The mask of XLM-R takes the space before it.
            let lstrip = name == XLM_R.mask && kind.is_none();
            // Of DeBERTa the unknown token alone is sought in normalised text.
            let normalized = deberta && id + 1 == family.special.len();
            let token = |special: bool| {
                json!({
                    "id": id, "content": name, "single_word": false, "lstrip": lstrip,
                    "rstrip": false, "normalized": normalized, "special": special
                })
            };
            match kind {
                None | Some(CONTROL) => Some(token(true)),
                Some(USER_DEFINED) => Some(token(false)),
                Some(_) => None,
            }
        })
        .collect();
    let metaspace = json!({
        "type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": true
    });
    let mut normalizers = Vec::new();
    let mut pre_tokenizers = vec![metaspace.clone()];
    if deberta {
        normalizers.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
        // Its mask is no piece.
        vocab.pop();
    } else {
        pre_tokenizers.insert(0, json!({"type": "WhitespaceSplit"}));
    }
    let charsmap = model.normalizer_spec.as_ref().map(|spec| &spec.precompiled_charsmap);
    if let Some(charsmap) = charsmap.filter(|charsmap| !charsmap.is_empty()) {
        let packed = STANDARD.encode(charsmap);
        normalizers.push(json!({"type": "Precompiled", "precompiled_charsmap": packed}));
    }
    normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    let around = family.around();
    let [(before, _), (after, _)] = around;
    let second = u8::from(family.types);
    let token = |name: &str, kind: u8| json!({"SpecialToken": {"id": name, "type_id": kind}});
    let text = |name: &str, kind: u8| json!({"Sequence": {"id": name, "type_id": kind}});
    let single = [token(before, 0), text("A", 0), token(after, 0)];
    let mut pair = single.to_vec();
    pair.extend((1..family.separators).map(|_| token(after, 0)));
    pair.extend([text("B", second), token(after, second)]);
    let special: Map<String, Value> = around
        .iter()
        .map(|&(name, id)| (name.into(), json!({"id": name, "ids": [id], "tokens": [name]})))
        .collect();
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": pre_tokenizers},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": pair,
            "special_tokens": special
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": false}
    });
    Ok(format!("{tokenizer:#}\n"))
}

/// The family of a model, and the pieces after its first ones.
fn checked(model: &Model) -> Result<(&'static Family, &[Piece]), String> {
    let (Some(trainer), Some(_)) = (&model.trainer_spec, &model.normalizer_spec) else {
        // They stand behind the pieces.
        return Err("it has no trainer_spec or no normalizer_spec, as where its end is cut off; \
                    copy it from the model's page again"
            .into());
    };
    let other = |what: String| {
        Err(format!(
            "{what}; expected a Unigram model without byte_fallback, as XLM-R's and DeBERTa's; \
             {CONVERT}"
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
    let names = |count: usize| -> Vec<&str> {
        model.pieces.iter().take(count).map(|piece| piece.piece.as_str()).collect()
    };
    let Some(family) = FAMILIES.iter().find(|family| names(family.first.len()) == family.first)
    else {
        let [xlm_r, deberta] = FAMILIES.map(|family| family.first);
        return Err(format!(
            "its pieces begin with {:?}; expected {xlm_r:?}, as XLM-R's do, or {deberta:?}, as \
             DeBERTa's; {CONVERT}",
            names(3)
        ));
    };
    let first = family.first.len();
    let pieces = model.pieces.get(first..).unwrap_or_default();
    if pieces.is_empty() {
        let first = family.first;
        return Err(format!("it has no pieces but {first:?}; copy it from the model's page again"));
    }
    let mut seen: HashSet<&str> = family.special.into_iter().chain([family.mask]).collect();
    for (number, Piece { piece, score, .. }) in (first..).zip(pieces) {
        let problem = if piece.is_empty() {
            "is empty".into()
        } else if piece.chars().nth(LONGEST_PIECE).is_some() {
            format!("is longer than {LONGEST_PIECE} characters")
        } else if !score.is_finite() {
            format!("({piece:?}) has the score {score}; expected a finite number")
        } else if !seen.insert(piece) {
            format!("({piece:?}) is there twice, or is a special token of {}", family.name)
        } else {
            continue;
        };
        return Err(format!("its piece {number} {problem}; take the file of the model's page"));
    }
    Ok((family, pieces))
}

/// What to do with a tokenizer of another kind.
pub(crate) const CONVERT: &str = "transformers writes the tokenizer.json of others: \
     AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)";
