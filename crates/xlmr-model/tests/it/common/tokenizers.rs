//! Tokenizers with the layouts of RoBERTa and CamemBERT.
use serde_json::{Value, json};
use testkit::fixture;

use super::read_json;

/// Returns the fixture `name`, a `tokenizer.json`.
pub fn stored_tokenizer(name: &str) -> Value {
    read_json(&fixture(&format!("{name}.json")))
}

/// Returns the fixture with byte-level BPE, changed to RoBERTa's special tokens and their ids.
pub fn roberta_tokenizer(add_prefix_space: bool) -> Value {
    let mut tokenizer = stored_tokenizer("byte_level");
    let stored_vocabulary = tokenizer["model"]["vocab"].as_object().unwrap();
    let shifted_ids = stored_vocabulary
        .iter()
        .map(|(piece, id)| (piece.clone(), json!(id.as_i64().unwrap() + 4)));
    let mut vocabulary: serde_json::Map<String, Value> = shifted_ids.collect();
    let mask_id = vocabulary.len() + 4;
    let special_tokens = [("<s>", 0), ("<pad>", 1), ("</s>", 2), ("<unk>", 3), ("<mask>", mask_id)];
    vocabulary.extend(special_tokens.map(|(token, id)| (token.to_owned(), json!(id))));
    let added_tokens = special_tokens.map(|(token, id)| {
        json!({"id": id, "content": token, "single_word": false, "lstrip": token == "<mask>",
            "rstrip": false, "normalized": false, "special": true})
    });
    tokenizer["model"]["vocab"] = vocabulary.into();
    tokenizer["added_tokens"] = json!(added_tokens);
    tokenizer["pre_tokenizer"] = json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space,
        "trim_offsets": true, "use_regex": true});
    tokenizer["post_processor"] = json!({"type": "RobertaProcessing", "sep": ["</s>", 2],
        "cls": ["<s>", 0], "trim_offsets": true, "add_prefix_space": add_prefix_space});
    tokenizer
}

/// Returns the fixture with a WordPiece model, changed to MPNet's special tokens and their ids.
pub fn mpnet_tokenizer() -> Value {
    let mut tokenizer = stored_tokenizer("wordpiece");
    let stored_vocabulary = tokenizer["model"]["vocab"].as_object().unwrap();
    let is_piece = |piece: &str| !["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].contains(&piece);
    let mut pieces: Vec<_> =
        stored_vocabulary.iter().filter(|(piece, _)| is_piece(piece.as_str())).collect();
    pieces.sort_by_key(|(_, id)| id.as_i64());
    let first_tokens = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]"];
    let pieces = first_tokens.into_iter().chain(pieces.iter().map(|(piece, _)| piece.as_str()));
    let pieces: Vec<String> = pieces.chain(["<mask>"]).map(str::to_owned).collect();
    let mask_id = pieces.len() - 1;
    let special_tokens = first_tokens.into_iter().chain(["<mask>"]).zip((0..5).chain([mask_id]));
    let added_tokens = special_tokens.map(|(token, id)| {
        json!({"id": id, "content": token, "single_word": false, "lstrip": token == "<mask>",
            "rstrip": false, "normalized": false, "special": true})
    });
    tokenizer["added_tokens"] = added_tokens.collect();
    let vocabulary: serde_json::Map<String, Value> =
        (0..).zip(pieces).map(|(id, piece): (i64, String)| (piece, json!(id))).collect();
    tokenizer["model"]["vocab"] = vocabulary.into();
    tokenizer["post_processor"] = json!({"type": "RobertaProcessing", "sep": ["</s>", 2],
        "cls": ["<s>", 0], "trim_offsets": true, "add_prefix_space": false});
    tokenizer
}

/// Returns the fixture with a Unigram model, changed to CamemBERT's special tokens and their ids.
pub fn camembert_tokenizer() -> Value {
    let mut tokenizer = stored_tokenizer("tokenizer");
    let stored_vocabulary = tokenizer["model"]["vocab"].as_array().unwrap();
    let first_tokens =
        ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>"];
    let vocabulary: Vec<Value> = first_tokens.map(|token| json!([token, 0.0])).into();
    let vocabulary = [&vocabulary, &stored_vocabulary[4..]].concat();
    let mask_id = vocabulary.len() - 1;
    let special_tokens = first_tokens.into_iter().chain(["<mask>"]).zip((0..7).chain([mask_id]));
    let added_tokens = special_tokens.map(|(token, id)| {
        json!({"id": id, "content": token, "single_word": false, "lstrip": token == "<mask>",
            "rstrip": false, "normalized": false, "special": true})
    });
    tokenizer["added_tokens"] = added_tokens.collect();
    tokenizer["model"]["vocab"] = vocabulary.into();
    for (token, id) in [("<s>", 5), ("</s>", 6)] {
        tokenizer["post_processor"]["special_tokens"][token]["ids"] = json!([id]);
    }
    tokenizer
}
