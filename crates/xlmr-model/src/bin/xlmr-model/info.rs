//! `xlmr-model info`: describes a model folder.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::Device;
use xlmr_model::{Config, LoadOptions, Model, Result};

/// Arguments of `info`.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  xlmr-model info --model models/xlm-roberta-base")]
pub struct Args {
    /// Model folder: config.json and model.safetensors
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
}

/// Loads the model with the head that config.json names, and prints a description of the model.
pub fn info(args: &Args) -> Result<()> {
    let head = Config::of_folder(&args.model)?.head()?;
    let (model, report) = Model::load(&args.model, &[head], Device::Cpu, LoadOptions::default())?;
    let config = model.config();
    println!("class            {}", head.class(&config.architecture));
    println!("layers           {}", config.num_hidden_layers);
    println!(
        "hidden size      {} ({} attention heads)",
        config.hidden_size, config.num_attention_heads
    );
    println!("feed-forward     {} ({})", config.intermediate_size, config.hidden_act.name());
    println!("vocabulary       {}", config.vocab_size);
    println!("tokenizer        {}", describe_tokenizer(&args.model, config));
    println!("longest input    {} tokens", config.max_length());
    println!("token types      {}", config.type_vocab_size);
    if let Some(labels) = head.labels() {
        println!("labels           {labels}");
    }

    let (mut blocks, mut total) = (BTreeMap::<&str, usize>::new(), 0);
    let parameters = model.named_parameters();
    for (name, tensor) in &parameters {
        *blocks.entry(block_name(name, config)).or_default() += tensor.numel();
        total += tensor.numel();
    }
    println!("\nparameters       {total}");
    for (block, count) in blocks {
        println!("  {block:<14} {count}");
    }

    println!("\ncheckpoint");
    print_names("missing", &report.missing);
    print_names("unexpected", &report.unexpected);
    print_names("not used", &report.ignored);
    if !report.merged.is_empty() {
        print_names("changed by LoRA", &report.merged);
    }
    let mut dtypes = BTreeMap::<&str, usize>::new();
    for (_, dtype) in &report.converted {
        *dtypes.entry(dtype).or_default() += 1;
    }
    for (dtype, count) in dtypes {
        println!("  stored as {dtype:<6} {count} tensors, computed in F32");
    }
    Ok(())
}

/// Describes the folder's tokenizer: the number of tokens, and each token id that differs in
/// `config.json`. If the tokenizer does not match the model, returns the reason.
fn describe_tokenizer(folder: &Path, config: &Config) -> String {
    if tokenizer_file::find(folder).is_err() {
        return "none".into();
    }
    let description = xlmr_model::read_tokenizer(folder).and_then(|tokenizer| {
        let notes = config.clone().apply_token_ids(&tokenizer)?;
        let notes: String = notes.iter().map(|note| format!("\n  note: {note}")).collect();
        Ok(format!("{} tokens{notes}", tokenizer.get_vocab_size(true)))
    });
    description.unwrap_or_else(|error| format!("not usable: {error}"))
}

/// Returns the name of the group to which a parameter belongs: `embeddings`, `encoder`, `layers` or
/// a head.
fn block_name<'a>(name: &'a str, config: &Config) -> &'a str {
    let unprefixed = name.strip_prefix(config.architecture.parameter_prefix()).unwrap_or(name);
    unprefixed.split('.').next().unwrap_or(unprefixed)
}

fn print_names(title: &str, names: &[String]) {
    if names.is_empty() {
        println!("  {title:<16} none");
    } else {
        println!("  {title:<16} {}: {}", names.len(), atomic_file::one_line(&names.join(", ")));
    }
}
