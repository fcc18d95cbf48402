//! Writes a small random model for each class of transformers that this crate knows, one folder
//! each.
//!
//! `cargo run -p xlmr-model --example fresh -- OUT`, then
//! `scripts/check_with_transformers.py OUT/*`.
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};
use xlmr_model::{Config, Head, Model, Result};

fn main() -> Result<()> {
    let Some(out) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("error: usage: fresh OUT");
        std::process::exit(2);
    };
    write(&out)
}

/// One folder for each class below `out`.
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
    for (seed, name, config, head) in [
        (1, "encoder", &tied, Head::None),
        (2, "mlm_tied", &tied, Head::MaskedLm),
        (3, "mlm_untied", &untied, Head::MaskedLm),
        (4, "qa", &tied, Head::Span),
        (5, "qa_two_segments", &two_segments, Head::Span),
        (6, "token_classification", &tied, Head::TokenClassification { labels: 5 }),
        (7, "sequence_classification", &tied, Head::SequenceClassification { labels: 3 }),
    ] {
        let model = Model::new(config, &[head], Device::Cpu, seed)?;
        for (_, parameter) in model.named_parameters() {
            // Fresh biases are 0 and fresh norms 1; a mix-up among them would not show.
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
