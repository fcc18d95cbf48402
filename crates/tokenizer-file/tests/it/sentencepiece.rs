//! Tests of SentencePiece models against transformers' conversion.
use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};
use testkit::assert_contains;
use tokenizer_file::{Error, Layout, read, read_text};
use tokenizers::{EncodeInput, NormalizedString, Tokenizer};

use crate::folder::folder_of;

const MODEL: &str = "sentencepiece.bpe.model";

/// The pieces `[U]` (type 4) and `[C]` (type 3), both with score 0, as in the golden script.
/// Appending bytes to a protobuf message adds fields.
const APPENDED_PIECES: &[u8] =
    b"\x0a\x0c\x0a\x03[U]\x15\0\0\0\0\x18\x04\x0a\x0c\x0a\x03[C]\x15\0\0\0\0\x18\x03";

fn fixture() -> Vec<u8> {
    fs::read(testkit::fixture(MODEL)).unwrap()
}

fn read_model(bytes: &[u8]) -> Result<Tokenizer, Error> {
    read(folder_of(&[(MODEL, bytes)]).path())
}

/// Returns contexts and questions of XQuAD in seven languages, in the order of the golden script.
fn xquad_texts() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/xquad");
    let mut texts = Vec::new();
    for language in ["ar", "de", "en", "es", "hi", "vi", "zh"] {
        let text = fs::read_to_string(root.join(format!("xquad.{language}.json"))).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let list = |value: &Value| value.as_array().unwrap().clone();
        for paragraph in list(&file["data"]).iter().flat_map(|article| list(&article["paragraphs"]))
        {
            texts.push(paragraph["context"].as_str().unwrap().to_owned());
            let questions = list(&paragraph["qas"]);
            texts.extend(questions.iter().map(|qa| qa["question"].as_str().unwrap().to_owned()));
        }
    }
    texts
}

/// Applies the change with the number `change`, like `apply_change` in the golden script.
fn apply_change(text: &str, change: usize) -> String {
    match change {
        1 => NormalizedString::from(text).nfd().get().to_owned(),
        2 => format!("  {}  ", text.replace(' ', "  ")),
        3 => text.replace(". ", ".\r\n").replace(", ", ",\t") + "\r\n",
        4 => text.replacen(' ', " \u{1f600}\u{200d}\u{1f525}\u{1f1e9}\u{1f1ea} ", 3),
        5 => {
            let text = text.replace('e', "e\0").replacen(' ', "\u{200b}", 2);
            format!("\u{1}{text}\u{7f}\u{9f}")
        }
        6 => {
            let text = text.replacen(' ', "\u{3000}", 4);
            format!("\u{feff}\u{a0}{text}\u{2028}\u{2029}\u{1680}\u{85}")
        }
        7 => {
            let text = text.replacen(' ', " <mask> ", 1).replacen(' ', "<mask>", 1);
            text + " </s><s> <pad><unk>"
        }
        8 => text.chars().rev().collect(),
        9 => {
            let widen = |c: char| char::from_u32(u32::from(c) + 0xfee0).unwrap();
            text.chars().map(|c| if ('!'..='~').contains(&c) { widen(c) } else { c }).collect()
        }
        10 => {
            let symbols = " \u{fdfa}\u{fb01}\u{2460}\u{33a1}\u{1d400}\u{1e9b}\u{323}\u{3392}";
            text.replace(' ', "") + symbols
        }
        11 => text.replacen(' ', "\u{2581}", 5).replacen(' ', " [U]", 2) + "[C] [U",
        _ => text.to_owned(),
    }
}

fn texts() -> Vec<String> {
    let short = ["", " ", "  ", "\n", "\u{200b}", "\u{3000}\u{3000}", "<mask>", " <mask> ", "▁"];
    let numbered_texts = xquad_texts().into_iter().enumerate();
    let changed_texts = numbered_texts.map(|(index, text)| apply_change(&text, index % 12));
    changed_texts.chain(short.map(str::to_owned)).collect()
}

/// Encodes every text, and every tenth text as a pair with the next one.
fn encode_all(tokenizer: &Tokenizer, texts: &[String]) -> Vec<Vec<u32>> {
    let mut inputs: Vec<EncodeInput> = texts.iter().map(|text| text.as_str().into()).collect();
    let pairs = texts.windows(2).step_by(10).map(|pair| (&*pair[0], &*pair[1]).into());
    inputs.extend(pairs);
    let encode = |input| tokenizer.encode_fast(input, true).unwrap().get_ids().to_vec();
    inputs.into_iter().map(encode).collect()
}

fn digest<'r, T: Copy + Into<u32> + 'r>(rows: impl IntoIterator<Item = &'r [T]>) -> String {
    let mut sha = Sha256::new();
    for row in rows {
        sha.update(u32::try_from(row.len()).unwrap().to_le_bytes());
        row.iter().for_each(|&value| sha.update(value.into().to_le_bytes()));
    }
    format!("{:x}", sha.finalize())
}

#[test]
fn ids_equal_the_ids_of_transformers() {
    let golden = include_str!("../golden/sentencepiece.json");
    let golden: Value = serde_json::from_str(golden).unwrap();
    let texts = texts();
    assert_eq!(golden["texts"], texts.len());
    let texts_digest = digest(texts.iter().map(|text| text.as_bytes()));
    assert_eq!(golden["texts_sha256"], texts_digest, "other texts than in the script");
    for (key, appended) in [("ids_sha256", &b""[..]), ("appended_ids_sha256", APPENDED_PIECES)] {
        let rows = encode_all(&read_model(&[&fixture(), appended].concat()).unwrap(), &texts);
        assert_eq!(golden[key], digest(rows.iter().map(Vec::as_slice)), "{key}");
        if appended.is_empty() {
            let unknown = rows.iter().flatten().filter(|&&id| id == 3).count();
            assert_eq!(golden["unknown"], unknown);
        }
    }
}

#[test]
fn deberta_ids_equal_the_ids_of_transformers() {
    let golden: Value = serde_json::from_str(include_str!("../golden/sentencepiece.json")).unwrap();
    let texts: Vec<String> = texts()
        .iter()
        .map(|text| {
            let text = text.replace("<mask>", "[MASK]").replace("</s>", "[SEP]");
            text.replace("<s>", "[CLS]").replace("<unk>", "[UNK]")
        })
        .collect();
    let folder = folder_of(&[("spm.model", &testkit::deberta_spm_model())]);
    let tokenizer = read(folder.path()).unwrap();
    let rows = encode_all(&tokenizer, &texts);
    assert_eq!(golden["deberta"]["ids_sha256"], digest(rows.iter().map(Vec::as_slice)));
    let unknown = rows.iter().flatten().filter(|&&id| id == 3).count();
    assert_eq!(golden["deberta"]["unknown"], unknown);
    let layout = Layout::of(&tokenizer).unwrap();
    assert_eq!((layout.before(), layout.after(), layout.pad()), (1, 2, Ok(0)));
    assert_eq!((layout.mask(), layout.unknown()), (Ok(8191), Ok(3)));
    let pair = tokenizer.encode(("a", "b"), true).unwrap();
    assert_eq!(pair.get_type_ids().last(), Some(&1));
}

#[test]
fn the_converted_file_equals_the_file_of_transformers() {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let expected = fs::read_to_string(testkit::fixture("tokenizer.json")).unwrap();
    let json_text = read_text(&testkit::fixture(MODEL)).unwrap();
    assert!(json(&json_text) == json(&expected), "different tokenizer.json");
    // The written file can be read.
    let written = folder_of(&[("tokenizer.json", json_text.as_bytes())]);
    let layout = Layout::of(&read(written.path()).unwrap()).unwrap();
    assert_eq!((layout.before(), layout.after(), layout.mask()), (0, 2, Ok(8191)));
    // A model without a character table (field 2 of `normalizer_spec`) gives a single normaliser.
    let without_table = [&PartialModel::default().bytes()[..], b"\x1a\x00"].concat();
    let folder = folder_of(&[(MODEL, &without_table)]);
    let converted = json(&read_text(&folder.path().join(MODEL)).unwrap());
    assert_eq!(converted["normalizer"]["normalizers"].as_array().unwrap().len(), 1);
    assert_eq!(read(folder.path()).unwrap().encode("a  b", false).unwrap().get_ids(), [4, 3]);
}

/// A model with few pieces, without `normalizer_spec`, the last message of the file.
struct PartialModel {
    pieces: Vec<(String, f32, u8)>,
    trainer: &'static [u8],
}

impl Default for PartialModel {
    fn default() -> Self {
        let pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("▁a", -1.5, 1)];
        let pieces = pieces.map(|(name, score, kind)| (name.to_owned(), score, kind));
        // `model_type: UNIGRAM`
        Self { pieces: pieces.to_vec(), trainer: b"\x18\x01" }
    }
}

impl PartialModel {
    fn with_piece(mut self, name: &str, score: f32, kind: u8) -> Self {
        self.pieces.push((name.to_owned(), score, kind));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        // Lengths are varints (base 128).
        let length = |n: usize| {
            let [low, high] = [n % 128, n / 128].map(|part| u8::try_from(part).unwrap());
            vec![low | 128, high]
        };
        let mut bytes = Vec::new();
        for (name, score, kind) in &self.pieces {
            let mut piece = vec![0x0a];
            piece.extend(length(name.len()));
            piece.extend(name.bytes());
            piece.push(0x15);
            piece.extend(score.to_le_bytes());
            piece.extend([0x18, *kind]);
            bytes.push(0x0a);
            bytes.extend(length(piece.len()));
            bytes.extend(piece);
        }
        bytes.push(0x12);
        bytes.extend(length(self.trainer.len()));
        bytes.extend(self.trainer);
        bytes
    }
}

#[test]
fn unsupported_and_damaged_models_are_one_line_errors() {
    let model = |pieces: PartialModel| [&pieces.bytes()[..], b"\x1a\x00"].concat();
    let with_trainer = |trainer| model(PartialModel { trainer, ..PartialModel::default() });
    let with_piece =
        |name: &str, score, kind| model(PartialModel::default().with_piece(name, score, kind));
    let with_long_piece = |length| with_piece(&"😀".repeat(length), -1.0, 1);
    for bytes in [with_trainer(b"\x18\x01"), with_trainer(b""), with_long_piece(512)] {
        assert!(read_model(&bytes).is_ok());
    }
    let no_pieces = PartialModel { pieces: Vec::new(), ..PartialModel::default() };
    let mut only_special = PartialModel::default();
    only_special.pieces.truncate(3);
    let mut other_order = PartialModel::default();
    other_order.pieces.swap(1, 2);
    let with_accent = with_piece("é", -1.0, 1);
    let offset = with_accent.windows(2).position(|bytes| bytes == "é".as_bytes()).unwrap();
    for (bytes, expected) in [
        (with_trainer(b"\x18\x02"), "it is a BPE model; expected a Unigram model"),
        (with_trainer(b"\x18\x04"), "a model of type 4"),
        (with_trainer(b"\x98\x02\x01"), "byte_fallback"),
        (with_piece("<0x0A>", 0.0, 6), "byte_fallback"),
        (model(no_pieces), "its pieces begin with []; expected [\"<unk>\", \"<s>\", \"</s>\"]"),
        (model(only_special), "it has no pieces except"),
        (model(other_order), "its pieces begin with [\"<unk>\", \"</s>\", \"<s>\"]"),
        (with_piece("b", f32::NAN, 1), "its piece 4 (\"b\") has the score"),
        (with_piece("b", f32::INFINITY, 1), "its piece 4 (\"b\") has the score"),
        (with_piece("b", f32::NEG_INFINITY, 1), "its piece 4 (\"b\") has the score"),
        (with_piece("", -1.0, 1), "its piece 4 is empty"),
        (with_piece("▁a", -1.0, 1), "(\"▁a\") occurs twice"),
        (with_piece("<pad>", 0.0, 4), "is a special token of XLM-R"),
        (with_piece("<mask>", 0.0, 4), "is a special token of XLM-R"),
        (with_piece("<s>", 0.0, 4), "is a special token of XLM-R"),
        (with_long_piece(513), "its piece 4 is longer than 512 characters"),
        // Bytes that are not a protobuf message, and fields that are longer than the file.
        (Vec::new(), "cut off"),
        (b"{\"version\": \"1.0\"}".to_vec(), "it is damaged: "),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f<unk>".to_vec(), "it is damaged: "),
        (b"\x0a\x0a\x0a\xff\xff\xff\xff\x0f<un".to_vec(), "it is damaged: "),
        ([&PartialModel::default().bytes()[..], b"\x1a\xff\xff\xff\xff\x07"].concat(), "damaged: "),
        ([&with_accent[..offset], b"\xe9e", &with_accent[offset + 2..]].concat(), "UTF-8"),
    ] {
        let error = read_model(&bytes).unwrap_err();
        assert!(matches!(error, Error::Content { .. }), "{error}");
        let problem = error.problem();
        let layout = "not a SentencePiece model with the layout of XLM-R or DeBERTa: ";
        assert!(problem.starts_with(layout), "{problem}");
        let error = error.to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.ends_with(&problem), "{error}");
        assert_contains(&error, &[MODEL, expected]);
    }
}

#[test]
fn truncated_models_are_errors() {
    // The model is truncated at every byte, both inside and between the pieces and the specs.
    let small_bytes = small_model();
    for end in 0..small_bytes.len() {
        assert!(matches!(read_model(&small_bytes[..end]), Err(Error::Content { .. })), "{end}");
    }
    assert!(read_model(&small_bytes).is_ok());
    let large_bytes = fixture();
    for percent in [1, 10, 40, 50, 60, 90, 99] {
        let error = read_model(&large_bytes[..large_bytes.len() * percent / 100]).unwrap_err();
        assert!(matches!(error, Error::Content { .. }), "{percent} %: {error}");
    }
}

/// Returns a model with few pieces and a character table without replacements.
fn small_model() -> Vec<u8> {
    let mut table = 1024u32.to_le_bytes().to_vec();
    table.resize(4 + 1024, 0);
    // The message `normalizer_spec` (1,031 bytes) contains only the field `precompiled_charsmap`
    // (1,028 bytes).
    [&PartialModel::default().bytes()[..], b"\x1a\x87\x08\x12\x84\x08", &table].concat()
}

#[test]
fn models_with_a_wrong_byte_cause_no_panic() {
    let small = small_model();
    // By default, only the first 100 bytes and every 16th later byte are changed. All later bytes
    // are zeros of the character table.
    for index in (0..small.len()).filter(|i| testkit::is_long() || *i < 100 || i % 16 == 0) {
        for wrong_byte in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = small.clone();
            bytes[index] = wrong_byte;
            // Some of the changed models are valid; these must encode texts.
            if let Ok(tokenizer) = read_model(&bytes) {
                assert!(tokenizer.encode("a b\u{fdfa}😀", true).is_ok(), "{index}: {wrong_byte}");
            }
        }
    }
}
