//! Rows of ids as one batch, and a folder with its tokenizer.
#![allow(clippy::unwrap_used)] // helpers of tests
use tch::{Device, Tensor};
use xlmr_model::{Config, Error, Head, Inputs, LoadOptions, Model, Pretrained};

fn rows(tensor: &Tensor) -> Vec<Vec<i64>> {
    Vec::<Vec<i64>>::try_from(tensor).unwrap()
}

#[test]
fn segment_ids_are_padded_to_the_batch() {
    let inputs = Inputs::from_rows(&[&[0, 5, 2, 6, 2], &[0, 2]], 1).unwrap();
    let inputs = inputs.with_token_type_ids(&[&[0, 0, 0, 1], &[0, 1]]).unwrap();
    let expected = [[0, 0, 0, 1, 0], [0, 1, 0, 0, 0]];
    assert_eq!(rows(&inputs.token_type_ids.unwrap()), expected);
}

#[test]
fn segment_ids_that_do_not_fit_are_refused() {
    let inputs = || Inputs::from_rows(&[&[0, 5, 2], &[0, 2]], 1).unwrap();
    for wrong in [vec![[0u32; 3].as_slice()], vec![&[0; 4], &[0; 2]]] {
        let error = inputs().with_token_type_ids(&wrong).unwrap_err();
        assert!(matches!(error, Error::Input { tensor: "token_type_ids", .. }), "{error}");
    }
    assert_eq!(Inputs::from_rows(&[], 1).unwrap().input_ids.size(), [0, 0]);
}

#[test]
fn a_folder_comes_back_with_its_tokenizer_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json");
    let vocabulary = tokenizers::Tokenizer::from_file(tokenizer).unwrap().get_vocab_size(true);
    let config = Config::tiny(i64::try_from(vocabulary).unwrap());
    let model = Model::new(&config, &[Head::Span], Device::Cpu, 3).unwrap();
    model.save(&from, Head::Span).unwrap();
    let load =
        |folder| Pretrained::load(folder, &[Head::Span], Device::Cpu, LoadOptions::default());
    let missing = load(&from).unwrap_err();
    assert!(missing.to_string().contains("tokenizer.json"), "{missing}");

    std::fs::copy(tokenizer, from.join("tokenizer.json")).unwrap();
    let (loaded, report) = load(&from).unwrap();
    assert!(report.missing.is_empty());
    assert_eq!(loaded.folder(), from);
    loaded.save(&to, Head::Span).unwrap();
    for file in ["tokenizer.json", "model.safetensors", "config.json"] {
        assert_eq!(std::fs::read(from.join(file)).unwrap(), std::fs::read(to.join(file)).unwrap());
    }
}

#[test]
fn only_a_model_of_the_class_is_used_without_training() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json");
    std::fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
    let vocabulary = tokenizers::Tokenizer::from_file(tokenizer).unwrap().get_vocab_size(true);
    let config = Config::tiny(i64::try_from(vocabulary).unwrap());
    let model = Model::new(&config, &[Head::MaskedLm, Head::Span], Device::Cpu, 3).unwrap();
    let load = || Pretrained::load_trained(folder.path(), Head::Span, Device::Cpu);
    model.save(folder.path(), Head::Span).unwrap();
    assert!(load().is_ok());
    // The weights of the head are there, in heads.safetensors, but the model is of another class.
    model.save(folder.path(), Head::MaskedLm).unwrap();
    let error = load().unwrap_err();
    assert!(matches!(error, Error::Untrained { head: "span", .. }), "{error}");
    assert!(error.to_string().contains("names XLMRobertaForMaskedLM; fine-tune"), "{error}");
    // The class is right, the weights are gone.
    std::fs::remove_file(folder.path().join("heads.safetensors")).unwrap();
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("ForMaskedLM", "ForQuestionAnswering")).unwrap();
    let error = load().unwrap_err().to_string();
    assert!(error.contains("qa_outputs.weight"), "{error}");
}
