//! Conversion of SentencePiece models with the layout of XLM-R or DeBERTa to the `tokenizer.json`
//! that transformers creates for these models.
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::{Map, Value, json};

/// Maximum size of a model in bytes: nearly twice the largest in use (XLM-V, 18 MB).
pub(crate) const MAX_BYTES: u64 = 32 << 20;

/// Maximum number of characters in a piece: the limit of SentencePiece's trainer.
const MAX_PIECE_LENGTH: usize = 512;

/// The fields of `sentencepiece_model.proto` that the conversion uses.
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
    /// `SentencePiece.Type`; absent for normal pieces.
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct TrainerSpec {
    /// `TrainerSpec.ModelType`; absent for `UNIGRAM`.
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

/// Type of the pieces for special tokens, which do not occur in text.
const CONTROL: i32 = 3;
/// Type of the pieces that are matched in a text before normalisation and splitting.
const USER_DEFINED: i32 = 4;
/// Type of the pieces for single bytes, which encode characters without a piece.
const BYTE: i32 = 6;
/// Model types; only `UNIGRAM` is supported.
const UNIGRAM: i32 = 1;
const BPE: i32 = 2;

/// Special tokens of a model family (XLM-R or DeBERTa), and their positions in texts and pairs.
struct Family {
    name: &'static str,
    /// The first pieces of a model.
    prefix: &'static [&'static str],
    /// The tokens that replace the first pieces; the last one is the unknown token.
    tokens: [&'static str; 4],
    before_id: usize,
    after_id: usize,
    /// Number of `after_id` tokens between two texts.
    n_separators: usize,
    mask_token: &'static str,
    /// Whether the second of two texts has type id 1.
    has_type_ids: bool,
}

impl Family {
    /// Returns names and ids of the token before a text and the token after it.
    fn outer_tokens(&self) -> [(&'static str, usize); 2] {
        [self.before_id, self.after_id].map(|id| (self.tokens[id], id))
    }
}

/// In fairseq, the special tokens have another order than in the SentencePiece model.
const XLM_R: Family = Family {
    name: "XLM-R",
    prefix: &["<unk>", "<s>", "</s>"],
    tokens: ["<s>", "<pad>", "</s>", "<unk>"],
    before_id: 0,
    after_id: 2,
    n_separators: 2,
    mask_token: "<mask>",
    has_type_ids: false,
};

const DEBERTA: Family = Family {
    name: "DeBERTa",
    prefix: &DEBERTA_TOKENS,
    tokens: DEBERTA_TOKENS,
    before_id: 1,
    after_id: 2,
    n_separators: 1,
    mask_token: "[MASK]",
    has_type_ids: true,
};
const DEBERTA_TOKENS: [&str; 4] = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"];

const FAMILIES: [&Family; 2] = [&XLM_R, &DEBERTA];

/// The character that represents a space in pieces.
const SPACE_MARK: &str = "▁";

/// Converts a model to the text of a `tokenizer.json`; the error describes the problem.
pub(crate) fn to_json(bytes: &[u8]) -> Result<String, String> {
    let model = Model::decode(bytes).map_err(|error| {
        format!("it is damaged: {error}; download it again from the model's page")
    })?;
    let (family, pieces) = validate(&model)?;
    let is_deberta = family.name == DEBERTA.name;
    let special_tokens = family.tokens.into_iter().map(|name| (name, 0.0));
    let other_pieces = pieces.iter().map(|piece| (piece.piece.as_str(), f64::from(piece.score)));
    let mut vocab: Vec<(&str, f64)> =
        special_tokens.chain(other_pieces).chain([(family.mask_token, 0.0)]).collect();
    let added_tokens: Vec<Value> = vocab
        .iter()
        .enumerate()
        .filter_map(|(id, &(name, _))| {
            let index = id.checked_sub(family.tokens.len());
            let kind = index.and_then(|index| pieces.get(index)).map(Piece::kind);
            // XLM-R's mask token includes the space before it.
            let lstrip = name == XLM_R.mask_token && kind.is_none();
            // DeBERTa's unknown token is the only added token that is matched in normalised text.
            let normalized = is_deberta && id + 1 == family.tokens.len();
            let added_token = |special: bool| {
                json!({
                    "id": id, "content": name, "single_word": false, "lstrip": lstrip,
                    "rstrip": false, "normalized": normalized, "special": special
                })
            };
            match kind {
                None | Some(CONTROL) => Some(added_token(true)),
                Some(USER_DEFINED) => Some(added_token(false)),
                Some(_) => None,
            }
        })
        .collect();
    let metaspace = json!({
        "type": "Metaspace", "replacement": SPACE_MARK, "prepend_scheme": "always", "split": true
    });
    let mut normalizers = Vec::new();
    let mut pre_tokenizers = vec![metaspace.clone()];
    if is_deberta {
        normalizers.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
        // DeBERTa's mask token is an added token that is not in the vocabulary.
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
    let outer_tokens = family.outer_tokens();
    let [(before, _), (after, _)] = outer_tokens;
    let second_type_id = u8::from(family.has_type_ids);
    let token = |id: &str, type_id: u8| json!({"SpecialToken": {"id": id, "type_id": type_id}});
    let text = |id: &str, type_id: u8| json!({"Sequence": {"id": id, "type_id": type_id}});
    let single = [token(before, 0), text("A", 0), token(after, 0)];
    let mut pair = single.to_vec();
    pair.extend((1..family.n_separators).map(|_| token(after, 0)));
    pair.extend([text("B", second_type_id), token(after, second_type_id)]);
    let special_token_map: Map<String, Value> = outer_tokens
        .iter()
        .map(|&(name, id)| (name.into(), json!({"id": name, "ids": [id], "tokens": [name]})))
        .collect();
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": pre_tokenizers},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": pair,
            "special_tokens": special_token_map
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": false}
    });
    Ok(format!("{tokenizer:#}\n"))
}

/// Validates a model, and returns its family and the pieces that follow the family's first pieces.
fn validate(model: &Model) -> Result<(&'static Family, &[Piece]), String> {
    let (Some(trainer), Some(_)) = (&model.trainer_spec, &model.normalizer_spec) else {
        // The file stores these specs after the pieces, so a truncated file lacks them.
        return Err("it lacks trainer_spec or normalizer_spec, so its end may be cut off; \
                    download it again from the model's page"
            .into());
    };
    let unsupported = |problem: String| {
        Err(format!(
            "{problem}; expected a Unigram model without byte_fallback, like those of XLM-R and \
             DeBERTa; {CONVERSION_ADVICE}"
        ))
    };
    match trainer.model_type {
        None | Some(UNIGRAM) => (),
        Some(BPE) => return unsupported("it is a BPE model".into()),
        Some(number) => return unsupported(format!("it is a model of type {number}")),
    }
    if trainer.byte_fallback || model.pieces.iter().any(|piece| piece.kind() == BYTE) {
        return unsupported("it encodes unknown characters as bytes (byte_fallback)".into());
    }
    let first_n = |count: usize| -> Vec<&str> {
        model.pieces.iter().take(count).map(|piece| piece.piece.as_str()).collect()
    };
    let Some(family) = FAMILIES.iter().find(|family| first_n(family.prefix.len()) == family.prefix)
    else {
        let [xlm_r, deberta] = FAMILIES.map(|family| family.prefix);
        return Err(format!(
            "its pieces begin with {:?}; expected {xlm_r:?} (XLM-R) or {deberta:?} (DeBERTa); \
             {CONVERSION_ADVICE}",
            first_n(3)
        ));
    };
    let prefix_len = family.prefix.len();
    let pieces = &model.pieces[prefix_len..];
    if pieces.is_empty() {
        let prefix = family.prefix;
        return Err(format!(
            "it has no pieces except {prefix:?}; download it again from the model's page"
        ));
    }
    let mut names: HashSet<&str> = family.tokens.into_iter().chain([family.mask_token]).collect();
    for (index, Piece { piece, score, .. }) in (prefix_len..).zip(pieces) {
        let problem = if piece.is_empty() {
            "is empty".into()
        } else if piece.chars().nth(MAX_PIECE_LENGTH).is_some() {
            format!("is longer than {MAX_PIECE_LENGTH} characters")
        } else if !score.is_finite() {
            format!("({piece:?}) has the score {score}; expected a finite number")
        } else if !names.insert(piece) {
            format!("({piece:?}) occurs twice, or is a special token of {}", family.name)
        } else {
            continue;
        };
        return Err(format!(
            "its piece {index} {problem}; download the file again from the model's page"
        ));
    }
    Ok((family, pieces))
}

/// Advice for an unsupported tokenizer.
pub(crate) const CONVERSION_ADVICE: &str = "create a tokenizer.json with transformers: \
     AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)";
