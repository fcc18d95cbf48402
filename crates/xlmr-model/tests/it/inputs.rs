//! Tests of position ids and of input validation.
use crate::common::{ids, small_config};
use tch::{Device, Kind, Tensor};
use xlmr_model::{Error, Inputs, Model, position_ids};

#[test]
fn positions_count_tokens_and_stop_at_padding() {
    // Computed by hand with pad = 1: position ids of tokens start at 2 in each row; padding has
    // position id 1, also between tokens.
    let ids = [0, 9, 9, 2, 1, 1, 0, 1, 9, 2, 1, 9];
    assert_eq!(position_ids(&ids, 6, 1), [2, 3, 4, 5, 1, 1, 2, 1, 3, 4, 1, 5]);
    assert_eq!(position_ids(&[5, 6, 0], 3, 0), [1, 2, 0]);
}

fn encode_error(inputs: Inputs) -> String {
    let model = Model::new(&small_config(), &[], Device::Cpu, 0).unwrap();
    match model.encode(&inputs, false) {
        Err(error @ Error::Input { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn assert_contains(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn ids_outside_the_vocabulary_are_reported_with_their_position() {
    for (invalid_id, text) in [(50i64, "50"), (-1, "-1"), (i64::MAX, "9223372036854775807")] {
        let ids = Tensor::from_slice(&[5, 6, 7, 8, invalid_id, 9]).view([2, 3]);
        let message = encode_error(Inputs::new(ids));
        assert_contains(&message, &["input_ids", "vocab_size - 1 = 49", text, "row 1, column 1"]);
    }
}

#[test]
fn shapes_and_dtypes_are_checked() {
    let float = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
    assert_contains(&encode_error(Inputs::new(float)), &["input_ids", "integer", "Float"]);
    let flat = Tensor::zeros([3], (Kind::Int64, Device::Cpu));
    assert_contains(&encode_error(Inputs::new(flat)), &["input_ids", "[B, L]", "[3]"]);
    let empty = Tensor::zeros([0, 3], (Kind::Int64, Device::Cpu));
    assert_contains(
        &encode_error(Inputs::new(empty)),
        &["input_ids", "at least one row", "[0, 3]"],
    );
    let mask = Tensor::ones([2, 4], (Kind::Int64, Device::Cpu));
    assert_contains(
        &encode_error(Inputs::masked(ids(2, 3), mask)),
        &["attention_mask", "[2, 3]", "[2, 4]"],
    );
    let invalid_mask = Tensor::full([2, 3], 2, (Kind::Int64, Device::Cpu));
    assert_contains(
        &encode_error(Inputs::masked(ids(2, 3), invalid_mask)),
        &["attention_mask", "got 2"],
    );
    let embeds = Tensor::zeros([2, 3, 8], (Kind::Float, Device::Cpu));
    let inputs = Inputs { inputs_embeds: Some(embeds), ..Inputs::new(ids(2, 3)) };
    assert_contains(&encode_error(inputs), &["inputs_embeds", "[2, 3, 16]", "[2, 3, 8]"]);
}

#[test]
fn too_large_positions_and_token_types_are_reported_with_the_limit() {
    // There are 20 positions, of which 0 and 1 (`<pad>`) are not used by tokens.
    let model = Model::new(&small_config(), &[], Device::Cpu, 0).unwrap();
    assert!(model.encode(&Inputs::new(ids(1, 18)), false).is_ok());
    assert_contains(
        &encode_error(Inputs::new(ids(1, 19))),
        &["max_position_embeddings = 20", "at most 18"],
    );
    // All padding has position 1, so that a longer row with enough padding is valid.
    let padding = Tensor::ones([1, 30], (Kind::Int64, Device::Cpu));
    let padded = Tensor::cat(&[ids(1, 18), padding], 1);
    assert!(model.encode(&Inputs::new(padded), false).is_ok());
    let positions = Tensor::full([1, 3], 20, (Kind::Int64, Device::Cpu));
    let inputs = Inputs { position_ids: Some(positions), ..Inputs::new(ids(1, 3)) };
    assert_contains(
        &encode_error(inputs),
        &["position_ids", "below max_position_embeddings = 20", "got 20"],
    );
    let types = Tensor::ones([1, 3], (Kind::Int64, Device::Cpu));
    let inputs = Inputs { token_type_ids: Some(types), ..Inputs::new(ids(1, 3)) };
    assert_contains(
        &encode_error(inputs),
        &["token_type_ids", "type_vocab_size - 1 = 0", "Learned2"],
    );
}

#[test]
fn explicit_positions_and_small_integer_types_are_supported() {
    let model = Model::new(&small_config(), &[], Device::Cpu, 0).unwrap();
    let expected = model.encode(&Inputs::new(ids(2, 5)), false).unwrap();
    let positions = Tensor::arange_start(2, 7, (Kind::Int, Device::Cpu)).expand([2, 5], false);
    let inputs =
        Inputs { position_ids: Some(positions), ..Inputs::new(ids(2, 5).to_kind(Kind::Int)) };
    assert!(model.encode(&inputs, false).unwrap().equal(&expected));
}
