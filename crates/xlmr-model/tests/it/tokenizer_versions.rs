//! Tests of the differences between the tokenizers of transformers 4 and 5 and of this crate, as
//! docs/reference/transformers.md documents them.
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::{PythonPackages, deberta_spm_model, fixture, python_with};
use tokenizer_file::Layout;
use xlmr_model::{Config, TokenizerFiles};

use crate::common::tokenizers::{
    camembert_tokenizer, mpnet_tokenizer, roberta_tokenizer, stored_tokenizer,
};

/// Texts with white space, width variants, capital letters, accents and special tokens.
const TEXTS: [&str; 16] = [
    "What is it?",
    "all lower case",
    "trailing ",
    "two  spaces",
    " leading",
    "tab\there",
    "line\nbreak",
    "São\u{a0}Paulo",
    "zero\u{200b}width",
    "Ｆｕｌｌ ½ ﬁne",
    "Café ÀÉ İstanbul",
    "e\u{301} combining",
    "利马是秘鲁的首都。",
    "🙂 a<mask>b [MASK] c",
    "don't 1,000.5",
    "",
];

/// Prints ids and offsets of the texts for each folder, from a JSON list of both in standard input.
const SCRIPT: &str = "
import json, sys
from transformers import AutoTokenizer
folders, texts = json.load(sys.stdin)
def encode(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encodings = [tokenizer(text, return_offsets_mapping=True) for text in texts]
    return [[e['input_ids'], e['offset_mapping']] for e in encodings]
print(json.dumps([encode(folder) for folder in folders]))
";

/// Token ids and offsets of a text.
type Encoded = (Vec<u32>, Vec<(usize, usize)>);

/// Texts whose encodings differ between transformers and this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Differing {
    /// Texts with other ids.
    ids: &'static [&'static str],
    /// Texts with equal ids and other offsets.
    offsets: &'static [&'static str],
}

/// A tokenizer in the files of a published model.
struct Case {
    name: &'static str,
    model_type: &'static str,
    /// Name and content of the tokenizer's file.
    tokenizer: (&'static str, Vec<u8>),
    /// Content of `tokenizer_config.json`, or null if the folder has no such file.
    config: Value,
    /// Differences in transformers 4 and 5.
    expected: [Differing; 2],
}

const EQUAL: Differing = Differing { ids: &[], offsets: &[] };

/// The class lower-cases texts and removes accents.
const LOWER_CASED: Differing = Differing {
    ids: &["What is it?", "São\u{a0}Paulo", "Café ÀÉ İstanbul", "e\u{301} combining"],
    offsets: &[],
};

/// As [`LOWER_CASED`]; `[MASK]` is not a special token of MPNet, so it is lower-cased, too.
const LOWER_CASED_MPNET: Differing = Differing {
    ids: &[
        "What is it?",
        "São\u{a0}Paulo",
        "Café ÀÉ İstanbul",
        "e\u{301} combining",
        "🙂 a<mask>b [MASK] c",
    ],
    offsets: &[],
};

/// The class drops a step of the normaliser that lower-cases.
const NOT_LOWER_CASED: Differing = Differing {
    ids: &[
        "What is it?",
        "São\u{a0}Paulo",
        "zero\u{200b}width",
        "Ｆｕｌｌ ½ ﬁne",
        "Café ÀÉ İstanbul",
        "e\u{301} combining",
        "🙂 a<mask>b [MASK] c",
    ],
    offsets: &[],
};

/// The class drops normalisation to NFKC.
const NOT_COMPOSED: Differing =
    Differing { ids: &["Ｆｕｌｌ ½ ﬁne", "e\u{301} combining"], offsets: &[] };

/// Texts to which `add_prefix_space` adds a space.
const PREFIXED_TEXTS: [&str; 14] = [
    TEXTS[0], TEXTS[1], TEXTS[2], TEXTS[3], TEXTS[5], TEXTS[6], TEXTS[7], TEXTS[8], TEXTS[9],
    TEXTS[10], TEXTS[11], TEXTS[12], TEXTS[13], TEXTS[14],
];

/// The class does not add a space before the first word, or includes a space at the beginning in
/// the offsets of the word.
const NOT_PREFIXED: Differing = Differing { ids: &PREFIXED_TEXTS, offsets: &[" leading"] };

/// As [`NOT_PREFIXED`], with equal offsets.
const NOT_PREFIXED_IDS: Differing = Differing { ids: &PREFIXED_TEXTS, offsets: &[] };

/// The class adds no token after a text.
const WITHOUT_LAST_TOKEN: Differing = Differing { ids: &TEXTS, offsets: &[] };

/// The class drops SentencePiece's map of characters.
const NOT_MAPPED: Differing = Differing {
    ids: &["São\u{a0}Paulo", "zero\u{200b}width", "Ｆｕｌｌ ½ ﬁne"],
    offsets: &[" leading", "🙂 a<mask>b [MASK] c"],
};

/// Offsets of words begin at the preceding space.
const WITH_SPACES: Differing = Differing {
    ids: &[],
    offsets: &[
        "What is it?",
        "all lower case",
        "two  spaces",
        " leading",
        "tab\there",
        "line\nbreak",
        "São\u{a0}Paulo",
        "zero\u{200b}width",
        "Ｆｕｌｌ ½ ﬁne",
        "Café ÀÉ İstanbul",
        "e\u{301} combining",
        "🙂 a<mask>b [MASK] c",
        "don't 1,000.5",
    ],
};

fn cases() -> Vec<Case> {
    let class = |name: &str| json!({"tokenizer_class": name});
    let with = |mut config: Value, key: &str, value: Value| {
        config[key] = value;
        config
    };
    let (hub, plain) = (json!({"model_max_length": 512}), class("PreTrainedTokenizerFast"));
    let xlm_r = || stored_tokenizer("tokenizer");
    let cased = || stored_tokenizer("wordpiece");
    let to_uncased = |mut tokenizer: Value| {
        tokenizer["normalizer"]["lowercase"] = true.into();
        tokenizer["normalizer"]["strip_accents"] = Value::Null;
        tokenizer
    };
    // A custom normaliser before the one of the class.
    let with_normalizer = |mut tokenizer: Value, step: Value| {
        tokenizer["normalizer"] =
            json!({"type": "Sequence", "normalizers": [step, tokenizer["normalizer"]]});
        tokenizer
    };
    let lower = json!({"type": "Lowercase"});
    let mut cases = Vec::new();
    let mut add = |name, model_type, tokenizer: Value, config, expected| {
        let tokenizer = ("tokenizer.json", tokenizer.to_string().into_bytes());
        cases.push(Case { name, model_type, tokenizer, config, expected });
    };
    let both = |differing: Differing| [differing; 2];
    add("xlm-r", "xlm-roberta", xlm_r(), hub.clone(), [EQUAL; 2]);
    add("xlm-r-bare", "xlm-roberta", xlm_r(), Value::Null, [EQUAL; 2]);
    add("xlm-r-class", "xlm-roberta", xlm_r(), class("XLMRobertaTokenizer"), [EQUAL; 2]);
    add("xlm-r-plain", "xlm-roberta", xlm_r(), plain.clone(), [EQUAL; 2]);
    add("minilm", "bert", xlm_r(), class("XLMRobertaTokenizer"), [EQUAL; 2]);
    let lower_xlm_r = with_normalizer(xlm_r(), lower.clone());
    add("xlm-r-lower", "xlm-roberta", lower_xlm_r, hub.clone(), [EQUAL, NOT_LOWER_CASED]);
    for (name, model_type, tokenizer_class, cased) in [
        ("cased", "bert", "BertTokenizer", cased()),
        ("cased-distilbert", "distilbert", "DistilBertTokenizer", cased()),
        ("cased-electra", "electra", "ElectraTokenizer", cased()),
        ("cased-mpnet", "mpnet", "MPNetTokenizer", mpnet_tokenizer()),
    ] {
        let uncased = to_uncased(cased.clone());
        let cased = || cased.clone();
        let published = json!({"do_lower_case": false, "model_max_length": 512});
        add(name, model_type, cased(), published, [EQUAL; 2]);
        add("cased-plain", model_type, cased(), plain.clone(), [EQUAL; 2]);
        let lower_cased =
            || both(if model_type == "mpnet" { LOWER_CASED_MPNET } else { LOWER_CASED });
        add("cased-bare", model_type, cased(), Value::Null, lower_cased());
        add("cased-class", model_type, cased(), class(tokenizer_class), lower_cased());
        add("uncased", model_type, uncased.clone(), json!({"do_lower_case": true}), [EQUAL; 2]);
        add("uncased-bare", model_type, uncased, Value::Null, [EQUAL; 2]);
    }
    let bert_class = with(class("BertTokenizer"), "do_lower_case", json!(false));
    let nfkc = with_normalizer(cased(), json!({"type": "NFKC"}));
    add("cased-nfkc", "bert", nfkc, bert_class, [EQUAL, NOT_COMPOSED]);
    for model_type in ["roberta", "data2vec-text"] {
        let (false_prefix, true_prefix) = (|| roberta_tokenizer(false), || roberta_tokenizer(true));
        let prefix = with(class("RobertaTokenizer"), "add_prefix_space", json!(true));
        add("roberta", model_type, false_prefix(), hub.clone(), [EQUAL; 2]);
        add("roberta-plain", model_type, false_prefix(), plain.clone(), [EQUAL; 2]);
        add("roberta-prefix", model_type, true_prefix(), prefix, [EQUAL; 2]);
        add("roberta-prefix-bare", model_type, true_prefix(), Value::Null, both(NOT_PREFIXED));
        add(
            "roberta-prefix-plain",
            model_type,
            true_prefix(),
            plain.clone(),
            [NOT_PREFIXED_IDS, EQUAL],
        );
    }
    add("camembert", "camembert", camembert_tokenizer(), hub.clone(), [EQUAL; 2]);
    let lower_camembert = with_normalizer(camembert_tokenizer(), lower);
    add(
        "camembert-lower",
        "camembert",
        lower_camembert,
        class("CamembertTokenizer"),
        [EQUAL, NOT_LOWER_CASED],
    );
    add(
        "camembert-class",
        "camembert",
        camembert_tokenizer(),
        class("CamembertTokenizer"),
        [EQUAL; 2],
    );
    let gemma = || stored_tokenizer("byte_fallback");
    add("mmbert", "modernbert", gemma(), plain.clone(), [EQUAL; 2]);
    add(
        "mmbert-gemma",
        "modernbert",
        gemma(),
        class("GemmaTokenizer"),
        [WITHOUT_LAST_TOKEN, EQUAL],
    );
    add("eurobert", "eurobert", stored_tokenizer("byte_level"), plain.clone(), [EQUAL; 2]);
    let deberta: Value = {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spm.model");
        fs::write(&path, deberta_spm_model()).unwrap();
        serde_json::from_str(&tokenizer_file::read_text(&path).unwrap()).unwrap()
    };
    let published = json!({"do_lower_case": false, "vocab_type": "spm"});
    add("deberta", "deberta-v2", deberta.clone(), published.clone(), [EQUAL, NOT_MAPPED]);
    add("deberta-plain", "deberta-v2", deberta, plain, [EQUAL; 2]);
    let pieces = fs::read(fixture("sentencepiece.bpe.model")).unwrap();
    cases.push(Case {
        name: "xlm-r-pieces",
        model_type: "xlm-roberta",
        tokenizer: ("sentencepiece.bpe.model", pieces),
        config: hub,
        expected: [WITH_SPACES, EQUAL],
    });
    cases.push(Case {
        name: "deberta-pieces",
        model_type: "deberta-v2",
        tokenizer: ("spm.model", deberta_spm_model()),
        config: published,
        expected: [EQUAL, NOT_MAPPED],
    });
    cases
}

fn write_folder(folder: &Path, case: &Case) {
    fs::create_dir(folder).unwrap();
    let (name, content) = &case.tokenizer;
    fs::write(folder.join(name), content).unwrap();
    let config = json!({"model_type": case.model_type});
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    if case.config.is_object() {
        fs::write(folder.join("tokenizer_config.json"), case.config.to_string()).unwrap();
    }
}

fn encode(folder: &Path) -> Vec<Encoded> {
    let tokenizer = xlmr_model::read_tokenizer(folder).unwrap();
    let encode = |text: &&str| {
        let encoding = tokenizer.encode_char_offsets(*text, true).unwrap();
        (encoding.get_ids().to_vec(), encoding.get_offsets().to_vec())
    };
    TEXTS.iter().map(encode).collect()
}

fn encode_with_transformers(python: &Path, folders: &[PathBuf]) -> Vec<Vec<Encoded>> {
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let input = json!([folders, TEXTS]).to_string();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the texts with other ids, and those with equal ids and other offsets.
fn differing_texts(ours: &[Encoded], theirs: &[Encoded]) -> [Vec<&'static str>; 2] {
    let select = |differs: fn(&Encoded, &Encoded) -> bool| {
        let pairs = TEXTS.into_iter().zip(ours.iter().zip(theirs));
        pairs.filter(|(_, (a, b))| differs(a, b)).map(|(text, _)| text).collect()
    };
    [select(|a, b| a.0 != b.0), select(|a, b| a.0 == b.0 && a.1 != b.1)]
}

/// Saves a folder's tokenizer as a training program does.
fn resave(from: &Path, model_type: &str) -> PathBuf {
    let to = from.with_extension("saved");
    fs::create_dir(&to).unwrap();
    let (tokenizer, files) = TokenizerFiles::of_folder(from).unwrap();
    let pad = Layout::of(&tokenizer).unwrap().pad().unwrap();
    let config = json!({"model_type": model_type, "vocab_size": tokenizer.get_vocab_size(true),
        "pad_token_id": pad, "bos_token_id": null, "eos_token_id": null});
    let config = Config::from_json(config, "config.json").unwrap();
    fs::copy(from.join("config.json"), to.join("config.json")).unwrap();
    files.write(&to, &tokenizer, &config).unwrap();
    to
}

#[test]
fn differences_between_versions_of_transformers_are_those_documented() {
    let root = tempfile::tempdir().unwrap();
    let mut folders = Vec::new();
    let cases = cases();
    for (index, case) in cases.iter().enumerate() {
        let folder = root.path().join(format!("{index}-{}", case.name));
        write_folder(&folder, case);
        folders.push(folder);
    }
    let saved: Vec<PathBuf> =
        folders.iter().zip(&cases).map(|(folder, case)| resave(folder, case.model_type)).collect();
    let versions = [PythonPackages::OlderTokenizers, PythonPackages::Tokenizers];
    for (version, packages) in versions.into_iter().enumerate() {
        let Some(python) = python_with(packages) else { continue };
        let theirs = encode_with_transformers(&python, &folders);
        let theirs_of_saved = encode_with_transformers(&python, &saved);
        let (mut actual, mut expected) = (Vec::new(), Vec::new());
        for (index, case) in cases.iter().enumerate() {
            let ours = encode(&folders[index]);
            assert_eq!(ours, encode(&saved[index]), "{}", case.name);
            let title = format!("{packages:?} {} {}", case.model_type, case.name);
            let Differing { ids, offsets } = case.expected[version];
            actual.push((title.clone(), differing_texts(&ours, &theirs[index])));
            expected.push((title.clone(), [ids.to_vec(), offsets.to_vec()]));
            // Saved folders are used unchanged by both versions.
            actual.push((title.clone(), differing_texts(&ours, &theirs_of_saved[index])));
            expected.push((title, [vec![], vec![]]));
        }
        let differences: Vec<_> = actual.iter().zip(&expected).filter(|(a, b)| a != b).collect();
        assert!(differences.is_empty(), "actual and expected: {differences:#?}");
    }
}
