//! The commands that prepare the input data of a recipe.
use std::env::consts::EXE_SUFFIX;
use std::path::{Path, PathBuf};
use std::process::Command;

use shards::Manifest;
use toml::{Table, Value};

use crate::files::sha256;
use crate::{Error, Result, log};

/// The recipe section that contains the commands.
pub(crate) const PREPARE: &str = "prepare";

/// The folder for prepared data.
const PREPARED_FOLDER: &str = "target/prepared";

/// The section `[prepare]` of a recipe: commands, each with a name and an output folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preparations(Vec<PrepareStep>);

/// A command of `[prepare]`.
#[derive(Clone, Debug)]
pub(crate) struct PrepareStep {
    name: String,
    /// The command without `--out`, with placeholders replaced by folders.
    command: String,
    /// The output folder.
    folder: String,
    /// The names of the commands whose folders this command reads.
    dependencies: Vec<String>,
}

impl PrepareStep {
    pub(crate) fn command_line(&self) -> String {
        format!("{} --out {}", self.command, self.folder)
    }

    /// Whether the output folder exists and the files from which it was prepared are unchanged.
    /// Prints the name of a changed file.
    fn is_current(&self) -> Result<bool> {
        let Some(manifest) = Manifest::read(&self.folder)? else { return Ok(false) };
        let Some(input) = manifest.find_changed_input() else { return Ok(true) };
        log(format!("{} changed since {} was prepared", input.display(), self.folder));
        Ok(false)
    }

    fn run(&self) -> Result<()> {
        let mut words = self.command.split_whitespace();
        let name = words.next().expect("a command has a word");
        let failure = |reason: String| Error::setting(format!("{PREPARE}.{}", self.name), reason);
        match Command::new(find_program(name)).args(words).args(["--out", &self.folder]).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failure(format!("`{}` ended with {status}", self.command_line()))),
            Err(error) => Err(failure(format!(
                "{name}: {error}; build it in the same profile, `cargo build --release --bin \
                 {name}`, or start the recipe with `cargo xtask run`"
            ))),
        }
    }
}

/// The path of the program `name` in the folder of the running program or in the parent of that
/// folder, where cargo stores programs. If neither folder contains the program, this is only its
/// file name, which the operating system looks up in `PATH`.
fn find_program(name: &str) -> PathBuf {
    let file = format!("{name}{EXE_SUFFIX}");
    // The path of the running program may be unknown.
    let current = std::env::current_exe().ok();
    let folders = current.iter().flat_map(|path| path.ancestors().skip(1).take(2));
    let mut candidates = folders.map(|folder| folder.join(&file));
    candidates.find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(&file))
}

impl Preparations {
    /// Removes the section `[prepare]` from a recipe's table and returns its commands. Replaces
    /// `{name}` at the start of the other values with the output folder of the command `name`.
    pub(crate) fn take_from(table: &mut Table) -> Result<Self> {
        let commands = match table.remove(PREPARE) {
            None => return Ok(Self::default()),
            Some(Value::Table(commands)) => commands,
            Some(_) => return Err(Error::setting(PREPARE, "not a section of commands")),
        };
        let mut preparations = Self::default();
        for name in commands.keys() {
            preparations.add(name, &commands, &mut Vec::new())?;
        }
        for value in table.iter_mut().map(|(_, value)| value) {
            preparations.replace_placeholders(value)?;
        }
        Ok(preparations)
    }

    /// Adds a command after the commands whose folders it reads.
    fn add(&mut self, name: &str, commands: &Table, unresolved: &mut Vec<String>) -> Result<()> {
        if self.get(name).is_some() {
            return Ok(());
        }
        let key = format!("{PREPARE}.{name}");
        let Some(Value::String(text)) = commands.get(name) else {
            return Err(Error::setting(key, "not a command"));
        };
        if text.trim().is_empty() {
            return Err(Error::setting(key, "expected a command, found an empty text"));
        }
        if unresolved.iter().any(|dependency| dependency == name) {
            return Err(Error::setting(key, "depends on its own output"));
        }
        unresolved.push(name.to_owned());
        let mut dependencies = Vec::new();
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            let (option, word) = match word.rsplit_once('=') {
                Some((name, word)) => (format!("{name}="), word),
                None => (String::new(), word),
            };
            let word = match split_placeholder(word) {
                None => word.to_owned(),
                Some((dependency, suffix)) => {
                    self.add(dependency, commands, unresolved)?;
                    dependencies.push(dependency.to_owned());
                    format!("{}{suffix}", self.folder(dependency)?)
                }
            };
            words.push(option + &word);
        }
        unresolved.pop();
        let command = words.join(" ");
        let hash = sha256(command.as_bytes());
        let folder = format!("{PREPARED_FOLDER}/{name}-{}", &hash[..12]);
        self.0.push(PrepareStep { name: name.to_owned(), command, folder, dependencies });
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&PrepareStep> {
        self.0.iter().find(|step| step.name == name)
    }

    fn folder(&self, name: &str) -> Result<&str> {
        match self.get(name) {
            Some(step) => Ok(&step.folder),
            None => Err(Error::setting(format!("{{{name}}}"), "no such command in [prepare]")),
        }
    }

    fn replace_placeholders(&self, value: &mut Value) -> Result<()> {
        match value {
            Value::String(text) => {
                if let Some((name, suffix)) = split_placeholder(text) {
                    *text = format!("{}{suffix}", self.folder(name)?);
                }
                Ok(())
            }
            Value::Array(values) => {
                values.iter_mut().try_for_each(|value| self.replace_placeholders(value))
            }
            Value::Table(table) => {
                table.iter_mut().try_for_each(|(_, value)| self.replace_placeholders(value))
            }
            _ => Ok(()),
        }
    }

    /// The commands whose folders contain one of `inputs`, and their dependencies, in the order of
    /// execution.
    fn steps_for<'s>(&'s self, inputs: &[PathBuf]) -> Vec<&'s PrepareStep> {
        let mut names: Vec<&str> = Vec::new();
        for step in self.0.iter().rev() {
            let is_read = inputs.iter().any(|input| input.starts_with(&step.folder));
            if is_read || names.contains(&step.name.as_str()) {
                names.push(&step.name);
                names.extend(step.dependencies.iter().map(String::as_str));
            }
        }
        self.0.iter().filter(|step| names.contains(&step.name.as_str())).collect()
    }

    /// Runs the commands on which `inputs` depend, if their folders are missing or outdated.
    pub(crate) fn run(&self, inputs: &[PathBuf]) -> Result<()> {
        for step in self.steps_for(inputs) {
            if !step.is_current()? {
                log(format!("$ {}", step.command_line()));
                step.run()?;
            }
        }
        Ok(())
    }

    /// Rejects missing folders that should contain one of `inputs`.
    pub(crate) fn check(&self, inputs: &[PathBuf]) -> Result<()> {
        let is_missing = |step: &&&PrepareStep| !Path::new(&step.folder).exists();
        let steps = self.steps_for(inputs);
        let is_read =
            |step: &&&PrepareStep| inputs.iter().any(|path| path.starts_with(&step.folder));
        match steps.iter().filter(is_read).find(is_missing) {
            None => Ok(()),
            Some(step) => {
                let reason = format!("not found: add --prepare, or run `{}`", step.command_line());
                Err(Error::setting(format!("{PREPARE}.{}", step.name), reason))
            }
        }
    }

    /// The commands as comments of a recipe, one per line.
    pub(crate) fn comments(&self) -> String {
        self.0.iter().map(|step| format!("# {}\n", step.command_line())).collect()
    }
}

/// Splits a text that starts with `{name}` into the name and the text after the brace.
fn split_placeholder(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('{')?.split_once('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_from(text: &str) -> Result<(Table, Preparations), String> {
        let mut table: Table = toml::from_str(text).unwrap();
        let preparations = Preparations::take_from(&mut table).map_err(|e| e.to_string())?;
        Ok((table, preparations))
    }

    const RECIPE: &str = "
        data = { train = '{words}/train.json', others = ['{words}', 'x'] }
        [prepare]
        words = 'count --in={letters}/train --seed 1'
        letters = 'letter --in data'
        unused = 'letter --in other'
    ";

    #[test]
    fn names_of_prepared_folders_depend_on_the_command() {
        let (table, preparations) = take_from(RECIPE).unwrap();
        let words = preparations.get("words").unwrap();
        let letters = preparations.get("letters").unwrap();
        assert_eq!(
            table["data"]["train"].as_str().unwrap(),
            format!("{}/train.json", words.folder)
        );
        assert_eq!(table["data"]["others"][0].as_str(), Some(words.folder.as_str()));
        assert!(words.folder.starts_with("target/prepared/words-"), "{}", words.folder);
        let command_line =
            format!("count --in={}/train --seed 1 --out {}", letters.folder, words.folder);
        assert_eq!(words.command_line(), command_line);
        let (_, changed) = take_from(&RECIPE.replace("--in data", "--in more")).unwrap();
        assert_ne!(changed.get("words").unwrap().folder, words.folder);
    }

    #[test]
    fn only_folders_that_are_read_are_prepared_in_order() {
        let (_, preparations) = take_from(RECIPE).unwrap();
        let names = |inputs: &[PathBuf]| -> Vec<String> {
            preparations.steps_for(inputs).iter().map(|step| step.name.clone()).collect()
        };
        let input = PathBuf::from(&preparations.get("words").unwrap().folder).join("train.json");
        assert_eq!(names(&[input.clone(), "x".into()]), ["letters", "words"]);
        assert!(names(&["data/base".into()]).is_empty());
        let error = preparations.check(&[input]).unwrap_err().to_string();
        assert!(error.starts_with("prepare.words: not found: add --prepare, or run `count"));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_is_prepared_again_after_its_input_changed() {
        use std::fs;
        use std::os::unix::fs::PermissionsExt;

        // A program that copies an already prepared folder and counts its runs.
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("input");
        fs::write(&input, "1").unwrap();
        let source = folder.path().join("source");
        let prepared = shards::PreparedFolder::start(&source).unwrap();
        fs::write(prepared.file("train/0.jsonl").unwrap(), "[1]\n").unwrap();
        let preparation = shards::Preparation {
            program: "copy",
            arguments: Vec::new(),
            inputs: vec![input.clone()],
            seed: None,
            counts: 1.into(),
        };
        prepared.finish(preparation).unwrap();
        let program = folder.path().join("copy");
        let script = "#!/bin/sh\necho >> \"$1\".runs\nrm -rf \"$3\"\nmkdir -p \"${3%/*}\"\n\
                      cp -r \"$1\" \"$3\"\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();

        let (program, path) = (program.display(), source.display());
        let (table, preparations) =
            take_from(&format!("x = '{{a}}'\n[prepare]\na = '{program} {path}'")).unwrap();
        let inputs = [PathBuf::from(table["x"].as_str().unwrap())];
        let runs = || fs::read_to_string(folder.path().join("source.runs")).unwrap().len();
        assert!(preparations.check(&inputs).is_err());
        preparations.run(&inputs).unwrap();
        preparations.check(&inputs).unwrap();
        preparations.run(&inputs).unwrap();
        assert_eq!(runs(), 1);
        fs::write(&input, "2").unwrap();
        preparations.run(&inputs).unwrap();
        assert_eq!(runs(), 2);
        fs::remove_dir_all(&inputs[0]).unwrap();
        fs::write(folder.path().join("copy"), "#!/bin/sh\nexit 3\n").unwrap();
        let error = preparations.run(&inputs).unwrap_err().to_string();
        assert!(error.contains("ended with exit status: 3"), "{error}");
        let (_, preparations) = take_from("x = '{a}'\n[prepare]\na = 'no-such-program'").unwrap();
        let inputs = [PathBuf::from(&preparations.get("a").unwrap().folder)];
        let error = preparations.run(&inputs).unwrap_err().to_string();
        assert!(error.starts_with("prepare.a: no-such-program: "), "{error}");
    }

    #[test]
    fn invalid_commands_are_named_in_the_error() {
        let error_of = |text: &str| take_from(text).unwrap_err();
        assert!(error_of("prepare = 1").starts_with("prepare: not a section"));
        assert!(error_of("[prepare]\na = 1").starts_with("prepare.a: not a command"));
        assert!(error_of("[prepare]\na = ' '").starts_with("prepare.a: expected a command"));
        assert!(error_of("x = '{b}/c'\n[prepare]\na = 'y'").starts_with("{b}: no such command"));
        let error = error_of("[prepare]\na = 'x {b}'\nb = 'x {a}'");
        assert!(error.contains("depends on its own output"), "{error}");
        // Without the section `[prepare]`, braces have no special meaning.
        assert!(take_from("x = '{b}/c'").is_ok());
    }
}
