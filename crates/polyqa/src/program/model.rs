//! The model that a user names.
use anyhow::Result;
use model_hub::{Hub, Resolved};
use whole_file::cli;

/// What `--model` says everywhere.
#[derive(clap::Args)]
pub struct ModelArg {
    /// A model: a Hugging Face folder, or a repository of the hub, as owner/name or
    /// owner/name@revision, which is looked up in the cache and fetched where it is not there
    #[arg(long, value_name = "DIR|NAME")]
    model: String,
}

impl ModelArg {
    /// The folder; a download shows how far it is.
    pub fn resolve(&self) -> Result<Resolved> {
        resolve(&self.model)
    }
}

/// The folder of a name; a download shows how far it is.
pub fn resolve(model: &str) -> Result<Resolved> {
    let mut current = None;
    let resolved = Hub::from_env().resolve(model, &mut |progress| {
        let bar = match &mut current {
            Some((file, bar)) if *file == progress.file => bar,
            other => {
                let bar = cli::byte_progress(Some(progress.total));
                &mut other.insert((progress.file.to_owned(), bar)).1
            }
        };
        bar.set_position(progress.done);
    });
    if let Some((_, bar)) = current {
        bar.finish_and_clear();
    }
    Ok(resolved?)
}
