//! Tests of the segments of question and context.
use std::fs;
use std::path::Path;

use mlqa_eval::WindowConfig;
use polyqa::{Calibration, Reader};
use serde_json::json;
use tch::Device;
use torch_ext::Precision;
use xlmr_model::{Architecture, Config, Head, Model};

use crate::common::{DATA, polyqa, xquad};

/// Writes a reader with BERT's weights and XLM-R's tokenizer, as Multilingual MiniLM.
fn write_reader(folder: &Path) {
    let (architecture, type_vocab_size) = (Architecture::Bert, 2);
    let max_position_embeddings = 130;
    let tiny = Config::tiny(4000);
    let config = Config { architecture, type_vocab_size, max_position_embeddings, ..tiny };
    let model = Model::new(&config, &[Head::Span], Device::Cpu, 5).unwrap();
    model.save(folder, Head::Span).unwrap();
    let tokenizer = Path::new(DATA).join("base/tokenizer.json");
    fs::copy(tokenizer, folder.join("tokenizer.json")).unwrap();
    write_class(folder, json!({}));
}

/// Writes a `tokenizer_config.json` with XLM-R's class and other keys.
fn write_class(folder: &Path, other_keys: serde_json::Value) {
    let mut config = json!({"tokenizer_class": "XLMRobertaTokenizer"});
    config.as_object_mut().unwrap().extend(other_keys.as_object().unwrap().clone());
    fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
}

/// Returns the start logit of the best answer, with segments in any case if `segment_ids`.
fn start_logit(folder: &Path, segment_ids: bool) -> f32 {
    let reader = Reader::load(folder, Device::Cpu, Precision::F32).unwrap();
    let windows = WindowConfig { segment_ids, ..reader.windows().clone() };
    let reader = reader.with_windows(windows).unwrap();
    reader.predict(&xquad("en")[..1]).unwrap()[0].candidates[0].start_logit
}

#[test]
fn readers_have_the_segments_with_which_they_were_trained() {
    let run = tempfile::tempdir().unwrap();
    let folder = run.path().join("model");
    write_reader(&folder);
    let (without, with) = (start_logit(&folder, false), start_logit(&folder, true));
    assert_ne!(without, with);
    // Earlier versions of `polyqa train` trained with segments, and wrote no `model_input_names`.
    let recipe = |segment_ids: bool| {
        let recipe = format!("[windows]\nsegment_ids = {segment_ids}\n[other]\nkey = 1\n");
        fs::write(run.path().join("recipe.toml"), recipe).unwrap();
    };
    recipe(true);
    assert_eq!(start_logit(&folder, false), with);
    recipe(false);
    assert_eq!(start_logit(&folder, false), without);
    fs::remove_file(run.path().join("recipe.toml")).unwrap();
    Calibration::default().write(&folder).unwrap();
    assert_eq!(start_logit(&folder, false), with);
    write_class(&folder, json!({"model_input_names": ["input_ids", "attention_mask"]}));
    assert_eq!(start_logit(&folder, false), without);
}

#[test]
fn doctor_prints_segments_and_the_option_enables_them() {
    let program = polyqa();
    write_reader(&program.path_of("minilm"));
    let segments = |expected: &str| {
        let output = program.run("doctor --model minilm");
        assert!(output.out.contains(&format!("segments   {expected}")), "{}", output.out);
    };
    segments("all tokens are in segment 0, because the tokenizer returns no token types");
    Calibration::default().write(program.path_of("minilm")).unwrap();
    segments("the context is in segment 1 (reader of an earlier version of polyqa)");
    fs::remove_file(program.path_of("minilm/calibration.json")).unwrap();
    program.write("text.txt", "Lima is the capital of Peru. Bern is the capital of Switzerland.");
    let answer = |options: &str| {
        program.run(&format!("answer --model minilm --json -q Where? text.txt {options}")).out
    };
    assert_ne!(answer(""), answer("--segment-ids"));
}
