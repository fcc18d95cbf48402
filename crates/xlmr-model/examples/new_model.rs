//! Writes a small random model for each transformers class that this crate supports, one folder
//! each.
//!
//! `cargo run -p xlmr-model --example new_model -- OUT`, then
//! `scripts/check_with_transformers.py OUT/*`.
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};
use xlmr_model::{
    Activation, Architecture, Config, DebertaV2, DistilBert, EuroBert, EuroPooling, Head,
    LayerType, Model, ModernBert, Pooling, Result,
};

fn main() -> Result<()> {
    let Some(out) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("error: usage: new_model OUT");
        std::process::exit(2);
    };
    write(&out)
}

/// Writes one folder per class below `out`.
pub fn write(out: &Path) -> Result<()> {
    let tied = Config {
        hidden_size: 32,
        num_hidden_layers: 2,
        intermediate_size: 96,
        max_position_embeddings: 70,
        initializer_range: 0.3,
        ..Config::tiny(300)
    };
    let untied = Config { tie_word_embeddings: false, ..tied.clone() };
    let two_segments = Config { type_vocab_size: 2, ..tied.clone() };
    let bert = Config {
        architecture: Architecture::Bert,
        pad_token_id: 0,
        bos_token_id: None,
        eos_token_id: None,
        ..two_segments.clone()
    };
    let modern =
        ModernBert { local_attention: 10, local_rope_theta: 160_000.0, ..ModernBert::new(4) };
    let all_options = ModernBert {
        layer_types: LayerType::pattern(4, 2),
        attention_bias: true,
        mlp_bias: true,
        norm_bias: true,
        classifier_bias: true,
        decoder_bias: false,
        classifier_pooling: Pooling::Mean,
        ..modern.clone()
    };
    let with_modern = |modern| Config {
        architecture: Architecture::ModernBert(modern),
        num_hidden_layers: 4,
        initializer_range: 0.2,
        ..tied.clone()
    };
    let (modern, all_options) = (with_modern(modern), with_modern(all_options));
    let with_euro = |euro| Config {
        architecture: Architecture::EuroBert(euro),
        hidden_act: Activation::Silu,
        initializer_range: 0.2,
        ..untied.clone()
    };
    let euro = with_euro(EuroBert { num_key_value_heads: Some(2), ..EuroBert::default() });
    let biased_euro = with_euro(EuroBert {
        rope_theta: 900.0,
        attention_bias: true,
        mlp_bias: true,
        classifier_pooling: EuroPooling::Bos,
        ..EuroBert::default()
    });
    let tied_euro = Config { tie_word_embeddings: true, ..euro.clone() };
    let with_deberta = |deberta| Config {
        architecture: Architecture::DebertaV2(deberta),
        pad_token_id: 0,
        bos_token_id: None,
        eos_token_id: None,
        initializer_range: 0.2,
        ..tied.clone()
    };
    let deberta = with_deberta(DebertaV2 { position_buckets: 16, ..DebertaV2::v3() });
    let older_options = DebertaV2 {
        relative_attention: true,
        content_to_position: true,
        max_relative_positions: 20,
        token_types: true,
        pooler_hidden_act: Activation::Relu,
        ..DebertaV2::default()
    };
    let older_deberta = Config { type_vocab_size: 2, ..with_deberta(older_options) };
    let deberta_untied = Config { tie_word_embeddings: false, ..older_deberta.clone() };
    let bert_untied = Config { tie_word_embeddings: false, ..bert.clone() };
    let modern_untied = Config { tie_word_embeddings: false, ..modern.clone() };
    let distil = |sinusoidal_pos_embds| Config {
        architecture: Architecture::DistilBert(DistilBert {
            sinusoidal_pos_embds,
            qa_dropout: 0.0,
        }),
        type_vocab_size: 1,
        layer_norm_eps: 1e-12,
        ..bert.clone()
    };
    let electra = |embedding_size| Config {
        architecture: Architecture::Electra { embedding_size },
        hidden_act: Activation::Relu,
        ..bert.clone()
    };
    let with_architecture =
        |architecture, config: &Config| Config { architecture, ..config.clone() };
    let (roberta, camembert) = (
        with_architecture(Architecture::Roberta, &two_segments),
        with_architecture(Architecture::Camembert, &tied),
    );
    let data2vec = with_architecture(Architecture::Data2VecText, &tied);
    let (distil, sinusoidal, electra, wide_electra) =
        (distil(false), distil(true), electra(12), electra(32));
    let without_tie = |config: &Config| Config { tie_word_embeddings: false, ..config.clone() };
    let (roberta_untied, distil_untied, electra_untied) =
        (without_tie(&roberta), without_tie(&distil), without_tie(&electra));
    let (token, sequence) =
        (Head::TokenClassification { labels: 5 }, Head::SequenceClassification { labels: 3 });
    for (seed, name, config, head) in [
        (1, "encoder", &tied, Head::None),
        (2, "mlm_tied", &tied, Head::MaskedLm),
        (3, "mlm_untied", &untied, Head::MaskedLm),
        (4, "qa", &tied, Head::Span),
        (5, "qa_two_segments", &two_segments, Head::Span),
        (6, "token_classification", &tied, token),
        (7, "sequence_classification", &tied, sequence),
        (8, "bert_encoder", &bert, Head::None),
        (9, "bert_mlm", &bert, Head::MaskedLm),
        (10, "bert_mlm_untied", &bert_untied, Head::MaskedLm),
        (11, "bert_qa", &bert, Head::Span),
        (12, "bert_token_classification", &bert, token),
        (13, "bert_sequence_classification", &bert, sequence),
        (14, "modernbert_encoder", &modern, Head::None),
        (15, "modernbert_mlm", &modern, Head::MaskedLm),
        (16, "modernbert_mlm_untied", &modern_untied, Head::MaskedLm),
        (17, "modernbert_mlm_rich", &all_options, Head::MaskedLm),
        (18, "modernbert_qa", &modern, Head::Span),
        (19, "modernbert_token_classification", &all_options, token),
        (20, "modernbert_sequence_classification", &modern, sequence),
        (21, "modernbert_sequence_mean", &all_options, sequence),
        (22, "eurobert_encoder", &euro, Head::None),
        (23, "eurobert_mlm", &euro, Head::MaskedLm),
        (24, "eurobert_mlm_tied", &tied_euro, Head::MaskedLm),
        (25, "eurobert_mlm_rich", &biased_euro, Head::MaskedLm),
        (26, "eurobert_token_classification", &biased_euro, token),
        (27, "eurobert_sequence_classification", &euro, sequence),
        (28, "eurobert_sequence_bos", &biased_euro, sequence),
        (29, "deberta_encoder", &deberta, Head::None),
        (30, "deberta_mlm", &deberta, Head::MaskedLm),
        (31, "deberta_mlm_legacy", &older_deberta, Head::MaskedLm),
        (32, "deberta_mlm_untied", &deberta_untied, Head::MaskedLm),
        (33, "deberta_qa", &deberta, Head::Span),
        (34, "deberta_token_classification", &older_deberta, token),
        (35, "deberta_sequence_classification", &deberta, sequence),
        (36, "roberta_encoder", &roberta, Head::None),
        (37, "roberta_mlm", &roberta, Head::MaskedLm),
        (38, "roberta_mlm_untied", &roberta_untied, Head::MaskedLm),
        (39, "roberta_qa", &roberta, Head::Span),
        (40, "roberta_token_classification", &roberta, token),
        (41, "roberta_sequence_classification", &roberta, sequence),
        (42, "camembert_encoder", &camembert, Head::None),
        (43, "camembert_mlm", &camembert, Head::MaskedLm),
        (44, "camembert_qa", &camembert, Head::Span),
        (45, "camembert_sequence_classification", &camembert, sequence),
        (46, "data2vec_encoder", &data2vec, Head::None),
        (47, "data2vec_mlm", &data2vec, Head::MaskedLm),
        (48, "data2vec_qa", &data2vec, Head::Span),
        (49, "data2vec_token_classification", &data2vec, token),
        (50, "distilbert_encoder", &distil, Head::None),
        (51, "distilbert_mlm", &sinusoidal, Head::MaskedLm),
        (52, "distilbert_mlm_untied", &distil_untied, Head::MaskedLm),
        (53, "distilbert_qa", &distil, Head::Span),
        (54, "distilbert_token_classification", &distil, token),
        (55, "distilbert_sequence_classification", &distil, sequence),
        (56, "electra_encoder", &electra, Head::None),
        (57, "electra_mlm", &electra, Head::MaskedLm),
        (58, "electra_mlm_untied", &electra_untied, Head::MaskedLm),
        (59, "electra_qa", &wide_electra, Head::Span),
        (60, "electra_token_classification", &wide_electra, token),
        (61, "electra_sequence_classification", &electra, sequence),
    ] {
        let model = Model::new(config, &[head], Device::Cpu, seed)?;
        for (_, parameter) in model.named_parameters() {
            // New biases are 0 and new norm weights 1, so noise is needed to detect swapped
            // tensors.
            let count = i64::try_from(parameter.numel()).unwrap_or(0);
            let noise = Tensor::f_arange(count, (Kind::Float, Device::Cpu))?.f_sin()?;
            let noise = noise.f_mul_scalar(0.1)?.f_view(&parameter.size()[..])?;
            let _ = parameter.f_detach()?.f_add_(&noise)?;
        }
        model.save(out.join(name), head)?;
        println!("{}", out.join(name).display());
    }
    Ok(())
}
