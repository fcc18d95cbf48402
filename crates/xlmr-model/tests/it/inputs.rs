//! Tests of position ids and of input validation.
use tch::{Device, Kind, Tensor};
use testkit::assert_contains;
use xlmr_model::{Error, Inputs, Model, position_ids};

use crate::common::{ids, small_config};

#[test]
fn positions_count_tokens_and_skip_padding() {
    // Expected values are computed by hand for pad = 1: the position ids of tokens start at 2 in
    // each row, and padding has position id 1 even between tokens.
    let ids = [0, 9, 9, 2, 1, 1, 0, 1, 9, 2, 1, 9];
    assert_eq!(position_ids(&ids, 6, 1), [2, 3, 4, 5, 1, 1, 2, 1, 3, 4, 1, 5]);
    assert_eq!(position_ids(&[5, 6, 0], 3, 0), [1, 2, 0]);
}

fn encode_error(inputs: Inputs) -> String {
    let model = Model::new(&small_config(), &[], Device::Cpu, 0).unwrap();
    match model.encode(&inputs, false) {
        Err(error @ Error::Input { .. }) => error.to_string(),
        result => panic!("{result:?}"),
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
    let zeros = |shape: &[i64], kind| Tensor::zeros(shape, (kind, Device::Cpu));
    let with_mask = |mask| Inputs::masked(ids(2, 3), mask);
    let embeds = Some(zeros(&[2, 3, 8], Kind::Float));
    for (inputs, parts) in [
        (Inputs::new(zeros(&[2, 3], Kind::Float)), ["input_ids", "integer", "Float"]),
        (Inputs::new(zeros(&[3], Kind::Int64)), ["input_ids", "[B, L]", "[3]"]),
        (Inputs::new(zeros(&[0, 3], Kind::Int64)), ["input_ids", "at least one row", "[0, 3]"]),
        (with_mask(zeros(&[2, 4], Kind::Int64)), ["attention_mask", "[2, 3]", "[2, 4]"]),
        (with_mask(zeros(&[2, 3], Kind::Int64) + 2), ["attention_mask", "expected", "got 2"]),
        (
            Inputs { inputs_embeds: embeds, ..Inputs::new(ids(2, 3)) },
            ["inputs_embeds", "[2, 3, 16]", "[2, 3, 8]"],
        ),
    ] {
        assert_contains(&encode_error(inputs), &parts);
    }
}

#[test]
fn too_large_positions_and_token_types_are_reported_with_the_limit() {
    // There are 20 positions. Tokens do not use position 0 or position 1, which is the position of
    // all padding. A row with 18 tokens is therefore valid with any amount of padding.
    let model = Model::new(&small_config(), &[], Device::Cpu, 0).unwrap();
    let padded = Tensor::cat(&[ids(1, 18), Tensor::ones([1, 30], (Kind::Int64, Device::Cpu))], 1);
    for ids in [ids(1, 18), padded] {
        assert!(model.encode(&Inputs::new(ids), false).is_ok());
    }
    let constant_ids = |value: i64| Some(Tensor::full([1, 3], value, (Kind::Int64, Device::Cpu)));
    for (inputs, parts) in [
        (Inputs::new(ids(1, 19)), ["position_ids", "max_position_embeddings = 20", "at most 18"]),
        (
            Inputs { position_ids: constant_ids(20), ..Inputs::new(ids(1, 3)) },
            ["position_ids", "below max_position_embeddings = 20", "got 20"],
        ),
        (
            Inputs { token_type_ids: constant_ids(1), ..Inputs::new(ids(1, 3)) },
            ["token_type_ids", "type_vocab_size - 1 = 0", "Learned2"],
        ),
    ] {
        assert_contains(&encode_error(inputs), &parts);
    }
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
