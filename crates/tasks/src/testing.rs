//! A tiny model for this crate's tests.
use objectives::tch::Device;
use xlmr_model::{Config, Head, Model, SpecialTokens};

pub(crate) fn model(vocabulary: i64) -> Model {
    let config = Config {
        hidden_size: 16,
        num_attention_heads: 2,
        num_hidden_layers: 2,
        intermediate_size: 32,
        type_vocab_size: 2,
        max_position_embeddings: 100,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..Config::tiny(vocabulary)
    };
    Model::new(&config, &[Head::MaskedLm, Head::Span], Device::Cpu, 1).unwrap()
}

pub(crate) fn specials() -> SpecialTokens {
    SpecialTokens { bos: 0, pad: 1, eos: 2, unk: 3, mask: 4 }
}
