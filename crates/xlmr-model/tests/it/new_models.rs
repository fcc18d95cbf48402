//! Small random models for each transformers class that this crate supports.
use std::path::Path;

use tch::{Device, Kind, Tensor};
use xlmr_model::{
    Activation, Architecture, Config, DebertaV2, DistilBert, Electra, EuroBert, EuroPooling, Head,
    LayerType, Model, ModernBert, MpNet, Pooling, RemBert, Result,
};

/// Writes one folder per model and class to `out`.
pub fn write_folders(out: &Path) -> Result<()> {
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
    let modern_config = |modern| Config {
        architecture: Architecture::ModernBert(modern),
        num_hidden_layers: 4,
        initializer_range: 0.2,
        ..tied.clone()
    };
    let (modern, all_options) = (modern_config(modern), modern_config(all_options));
    let euro_config = |euro| Config {
        architecture: Architecture::EuroBert(euro),
        hidden_act: Activation::Silu,
        initializer_range: 0.2,
        ..untied.clone()
    };
    let euro = euro_config(EuroBert { num_key_value_heads: Some(2), ..EuroBert::default() });
    let biased_euro = euro_config(EuroBert {
        rope_theta: 900.0,
        attention_bias: true,
        mlp_bias: true,
        classifier_pooling: EuroPooling::Bos,
        ..EuroBert::default()
    });
    let tied_euro = Config { tie_word_embeddings: true, ..euro.clone() };
    let deberta_config = |deberta| Config {
        architecture: Architecture::DebertaV2(deberta),
        pad_token_id: 0,
        bos_token_id: None,
        eos_token_id: None,
        initializer_range: 0.2,
        ..tied.clone()
    };
    let deberta = deberta_config(DebertaV2 { position_buckets: 16, ..DebertaV2::v3() });
    let older_options = DebertaV2 {
        relative_attention: true,
        content_to_position: true,
        max_relative_positions: 20,
        has_token_types: true,
        pooler_hidden_act: Activation::Relu,
        ..DebertaV2::default()
    };
    let older_deberta = Config { type_vocab_size: 2, ..deberta_config(older_options) };
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
        architecture: Architecture::Electra(Electra { embedding_size }),
        hidden_act: Activation::Relu,
        ..bert.clone()
    };
    let rembert = |input_embedding_size| Config {
        architecture: Architecture::RemBert(RemBert {
            input_embedding_size,
            output_embedding_size: 20,
        }),
        classifier_dropout: Some(0.2),
        tie_word_embeddings: false,
        ..bert.clone()
    };
    let (rembert, wide_rembert) = (rembert(12), rembert(32));
    let with_architecture =
        |architecture, config: &Config| Config { architecture, ..config.clone() };
    let (roberta, camembert) = (
        with_architecture(Architecture::Roberta, &two_segments),
        with_architecture(Architecture::Camembert, &tied),
    );
    let data2vec = with_architecture(Architecture::Data2VecText, &tied);
    let xl = with_architecture(Architecture::XlmRobertaXl, &two_segments);
    let mpnet = MpNet { relative_attention_num_buckets: 34 };
    let mpnet = with_architecture(Architecture::MpNet(mpnet), &tied);
    let (distil, sinusoidal, electra, wide_electra) =
        (distil(false), distil(true), electra(12), electra(32));
    let untie = |config: &Config| Config { tie_word_embeddings: false, ..config.clone() };
    // The span head is last, because transformers has no EuroBERT class for answer spans.
    let heads = [
        ("encoder", Head::None),
        ("mlm", Head::MaskedLm),
        ("token_classification", Head::TokenClassification { labels: 5 }),
        ("sequence_classification", Head::SequenceClassification { labels: 3 }),
        ("qa", Head::Span),
    ];
    let mut seed = 0;
    for (name, config, heads) in [
        ("xlm-roberta", &tied, &heads[..]),
        ("xlm-roberta_untied", &untied, &heads[1..2]),
        ("xlm-roberta_two_segments", &two_segments, &heads[4..]),
        ("bert", &bert, &heads),
        ("bert_untied", &untie(&bert), &heads[1..2]),
        ("modernbert", &modern, &heads),
        ("modernbert_untied", &untie(&modern), &heads[1..2]),
        ("modernbert_all_options", &all_options, &heads[1..4]),
        ("eurobert", &euro, &heads[..4]),
        ("eurobert_tied", &tied_euro, &heads[1..2]),
        ("eurobert_biased", &biased_euro, &heads[1..4]),
        ("deberta", &deberta, &heads),
        ("deberta_older", &older_deberta, &heads[1..3]),
        ("deberta_untied", &untie(&older_deberta), &heads[1..2]),
        ("roberta", &roberta, &heads),
        ("roberta_untied", &untie(&roberta), &heads[1..2]),
        ("camembert", &camembert, &heads),
        ("data2vec", &data2vec, &heads),
        ("distilbert", &distil, &heads),
        ("distilbert_sinusoidal", &sinusoidal, &heads[1..2]),
        ("distilbert_untied", &untie(&distil), &heads[1..2]),
        ("electra", &electra, &heads),
        ("electra_wide", &wide_electra, &heads[1..]),
        ("electra_untied", &untie(&electra), &heads[1..2]),
        ("rembert", &rembert, &heads),
        ("rembert_wide", &wide_rembert, &heads[1..2]),
        ("xlm-roberta-xl", &xl, &heads),
        ("xlm-roberta-xl_untied", &untie(&xl), &heads[1..2]),
        ("mpnet", &mpnet, &heads),
        ("mpnet_untied", &untie(&mpnet), &heads[1..2]),
    ] {
        for &(head_name, head) in heads {
            seed += 1;
            write_model(&out.join(format!("{name}_{head_name}")), config, head, seed)?;
        }
    }
    Ok(())
}

/// Writes a new model. Noise is added to all parameters, because all new biases are 0 and all new
/// norm weights are 1, so swapped tensors would not be detected.
fn write_model(folder: &Path, config: &Config, head: Head, seed: u64) -> Result<()> {
    let model = Model::new(config, &[head], Device::Cpu, seed)?;
    for (_, parameter) in model.named_parameters() {
        let n_elements = i64::try_from(parameter.numel()).unwrap_or(0);
        let noise = Tensor::f_arange(n_elements, (Kind::Float, Device::Cpu))?.f_sin()?;
        let noise = noise.f_mul_scalar(0.1)?.f_view(&parameter.size()[..])?;
        let _ = parameter.f_detach()?.f_add_(&noise)?;
    }
    model.save(folder, head)?;
    println!("{}", folder.display());
    Ok(())
}
