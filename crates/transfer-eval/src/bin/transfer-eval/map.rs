//! `transfer-eval map`: linear maps between the vectors of two languages.
use std::path::PathBuf;

use serde::Serialize;
use transfer_eval::Error;
use transfer_eval::retrieval::map::{
    Dictionary, Direction, LinearMap, MapConfig, OutOfVocabulary, RefineConfig, Round, Step,
    TranslationConfig, WordVectors, read_labels, read_texts, score_translations,
};

use crate::{Done, print_json, say};

/// Map the word vectors of one language to another's, and count how often translations are nearest.
#[derive(clap::Subcommand)]
pub enum Command {
    Vectors(VectorsArgs),
    Fit(FitArgs),
    Apply(ApplyArgs),
    Score(ScoreArgs),
}

/// Make vectors of labels or sentences: the mean word embedding of a model, which is not run.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval map vectors --model data/base --labels data/demo/kg/labels.tsv \\
    --language de --out de.vec
  transfer-eval map vectors --model data/base --texts data/pud/de.tsv \\
    --out pud-de.vec")]
pub struct VectorsArgs {
    /// A folder of XLM-R with model.safetensors and its tokenizer
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Labels of entities (id, lang, label, kind); the words of the output are their ids
    #[arg(long, value_name = "FILE", requires = "language", required_unless_present = "texts")]
    labels: Option<PathBuf>,
    /// The labels' language
    #[arg(long)]
    language: Option<String>,
    /// Texts, a name and a text with a tab between them a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["labels", "language"])]
    texts: Option<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE.vec")]
    out: PathBuf,
}

/// Vectors of two languages, as files.
#[derive(clap::Args)]
struct Sides {
    /// Vectors of the source language: text as fastText writes it, .npy or .safetensors
    #[arg(long, value_name = "FILE")]
    source: PathBuf,
    /// The source's words, one a line, for .npy and .safetensors
    #[arg(long, value_name = "FILE")]
    source_words: Option<PathBuf>,
    /// Vectors of the target language
    #[arg(long, value_name = "FILE")]
    target: PathBuf,
    /// The target's words
    #[arg(long, value_name = "FILE")]
    target_words: Option<PathBuf>,
    /// Read the first N words of each file, in published files the most frequent ones
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    first: usize,
    /// Pairs of words, a source word and a target word a line; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    dictionary: PathBuf,
}

/// Fit an orthogonal map to a dictionary (Procrustes); print what was used as JSON.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval map vectors --model data/base --texts data/pud/en.tsv \\
    --out en.vec
  transfer-eval map vectors --model data/base --texts data/pud/de.tsv \\
    --out de.vec
  cut -f1 data/pud/en.tsv | sed -n 1~5p | transfer-eval map fit \\
    --source en.vec --target de.vec --dictionary - --out en-de.safetensors
With vectors of fastText and a dictionary of MUSE:
  transfer-eval map fit --source cc.en.300.vec.gz --target cc.de.300.vec.gz \\
    --dictionary en-de.0-5000.txt --refine 5 --out en-de.safetensors

A line with one word stands for that word on both sides.")]
pub struct FitArgs {
    #[command(flatten)]
    sides: Sides,
    /// Steps before the map, on each side: unit, center
    #[arg(long, value_name = "STEP,…", default_value = "unit,center,unit")]
    normalize: String,
    /// Rounds of refinement at most: fit again on words that are each other's nearest
    #[arg(long, value_name = "ROUNDS", default_value_t = 0)]
    refine: usize,
    /// First words of each side that refinement pairs
    #[arg(long, value_name = "N", default_value_t = RefineConfig::default().words)]
    refine_words: usize,
    /// Neighbours of CSLS in refinement
    #[arg(long, value_name = "K", default_value_t = RefineConfig::default().neighbours)]
    neighbours: usize,
    /// The file to write
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
}

/// Write vectors as the map makes them, so that both languages are in one space.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval map vectors --model data/base --labels data/demo/kg/labels.tsv \\
    --language en --out en.vec
  transfer-eval map vectors --model data/base --labels data/demo/kg/labels.tsv \\
    --language de --out de.vec
  grep -o '^T:[^\t]*' data/demo/kg/labels.tsv | transfer-eval map fit \\
    --source en.vec --target de.vec --dictionary - --out en-de.safetensors
  transfer-eval map apply --map en-de.safetensors --source en.vec \\
    --out mapped-en.vec
  transfer-eval map apply --map en-de.safetensors --target de.vec \\
    --out mapped-de.vec")]
pub struct ApplyArgs {
    /// What `map fit` wrote
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// Vectors of the source language, which are normalised and mapped
    #[arg(long, value_name = "FILE", required_unless_present = "target")]
    source: Option<PathBuf>,
    /// Vectors of the target language, which are normalised
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    target: Option<PathBuf>,
    /// Their words, one a line, for .npy and .safetensors
    #[arg(long, value_name = "FILE")]
    words: Option<PathBuf>,
    /// Take the first N words [default: all]
    #[arg(long, value_name = "N")]
    first: Option<usize>,
    /// The text file to write
    #[arg(long, value_name = "FILE.vec")]
    out: PathBuf,
}

/// Print P@1, P@5 and P@10 in percent as JSON, by cosine and by CSLS over all target words.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval map vectors --model data/base --texts data/pud/en.tsv \\
    --out en.vec
  transfer-eval map vectors --model data/base --texts data/pud/de.tsv \\
    --out de.vec
  cut -f1 data/pud/en.tsv | sed -n 1~5p | transfer-eval map fit \\
    --source en.vec --target de.vec --dictionary - --out en-de.safetensors
  cut -f1 data/pud/en.tsv | sed 1~5d | transfer-eval map score \\
    --map en-de.safetensors --source en.vec --target de.vec --dictionary -
With vectors of fastText and a dictionary of MUSE:
  transfer-eval map score --map en-de.safetensors --oov skip \\
    --source cc.en.300.vec.gz --target cc.de.300.vec.gz \\
    --dictionary en-de.5000-6500.txt")]
pub struct ScoreArgs {
    /// What `map fit` wrote; without it, vectors are normalised alone
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    #[command(flatten)]
    sides: Sides,
    /// Steps without a map, on each side: unit, center
    #[arg(long, value_name = "STEP,…", default_value = "unit,center,unit", conflicts_with = "map")]
    normalize: String,
    /// Neighbours of CSLS
    #[arg(long, value_name = "K", default_value_t = TranslationConfig::default().neighbours)]
    neighbours: usize,
    /// Words without a vector, or with no translation that has one
    #[arg(long, value_enum, default_value = "miss")]
    oov: OutOfVocabulary,
    /// Look up target words among source words
    #[arg(long)]
    backward: bool,
}

pub fn run(command: &Command) -> Done {
    match command {
        Command::Vectors(args) => vectors(args),
        Command::Fit(args) => fit(args),
        Command::Apply(args) => apply(args),
        Command::Score(args) => score(args),
    }
}

fn vectors(args: &VectorsArgs) -> Done {
    let texts = match (&args.labels, &args.language, &args.texts) {
        (Some(path), Some(language), _) => read_labels(path, language)?,
        (_, _, Some(path)) => read_texts(path)?,
        _ => return Err("name --labels with --language, or --texts".into()),
    };
    let tokenizer = tokenizer_file::read(&args.model)?;
    let vectors = WordVectors::of_texts(&texts, &args.model, &tokenizer)?;
    vectors.write(&args.out)?;
    report(&args.out, &vectors);
    Ok(())
}

/// How many words there are.
fn report(path: &std::path::Path, vectors: &WordVectors) {
    let (rows, width) = vectors.vectors().dim();
    let repeated = match vectors.repeated() {
        0 => String::new(),
        count => format!("; {count} repeated words left out"),
    };
    say(&format!("{}: {rows} words, {width} dimensions{repeated}", path.display()));
}

fn read_side(path: &PathBuf, words: Option<&PathBuf>, first: Option<usize>) -> Done<WordVectors> {
    let vectors = WordVectors::read(path, words.map(PathBuf::as_path), first)?;
    report(path, &vectors);
    Ok(vectors)
}

/// Vectors of source and target, which have the same width.
fn read_sides(sides: &Sides) -> Done<(WordVectors, WordVectors, Dictionary)> {
    let dictionary = Dictionary::read(&sides.dictionary)?;
    let first = Some(sides.first);
    let source = read_side(&sides.source, sides.source_words.as_ref(), first)?;
    let target = read_side(&sides.target, sides.target_words.as_ref(), first)?;
    let (width, other) = (source.vectors().ncols(), target.vectors().ncols());
    if width != other {
        let message = format!("{other} dimensions, but {} has {width}", sides.source.display());
        return Err(Error::Content { path: sides.target.clone(), message }.into());
    }
    Ok((source, target, dictionary))
}

/// What `map fit` prints.
#[derive(Serialize)]
struct Fitted {
    pairs: usize,
    without_source: usize,
    without_target: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rounds: Vec<Round>,
}

fn fit(args: &FitArgs) -> Done {
    let refine = (args.refine > 0).then_some(RefineConfig {
        rounds: args.refine,
        words: args.refine_words,
        neighbours: args.neighbours,
    });
    let config = MapConfig { normalize: Step::list(&args.normalize)?, refine };
    let (source, target, dictionary) = read_sides(&args.sides)?;
    let found = dictionary.rows(&source, &target);
    let (mut source, mut target) = (source.into_vectors(), target.into_vectors());
    let (map, rounds) = LinearMap::fit(&mut source, &mut target, &found.pairs, &config)?;
    map.write(&args.out)?;
    let (pairs, width) = (found.pairs.len(), map.matrix().nrows());
    if pairs < width {
        say(&format!(
            "note: {pairs} pairs for {width} dimensions; several maps are equally good for them"
        ));
    }
    print_json(&Fitted {
        pairs,
        without_source: found.without_source,
        without_target: found.without_target,
        rounds,
    })
}

fn apply(args: &ApplyArgs) -> Done {
    let map = LinearMap::read(&args.map)?;
    let (Some(path), is_source) =
        (args.source.as_ref().or(args.target.as_ref()), args.source.is_some())
    else {
        return Err("name --source or --target".into());
    };
    let vectors = read_side(path, args.words.as_ref(), args.first)?;
    let change = |vectors| if is_source { map.source(vectors) } else { map.target(vectors) };
    fitting(path, vectors.try_map(change))?.write(&args.out)?;
    Ok(())
}

/// Names the file whose vectors do not fit.
fn fitting<T>(path: &std::path::Path, result: transfer_eval::Result<T>) -> Done<T> {
    result.map_err(|error| {
        let message = match error {
            Error::Array { message, .. } => message,
            other => return other.into(),
        };
        Error::Content { path: path.to_path_buf(), message }.into()
    })
}

fn score(args: &ScoreArgs) -> Done {
    let steps = Step::list(&args.normalize)?;
    let map = args.map.as_ref().map(LinearMap::read).transpose()?;
    let (source, target, dictionary) = read_sides(&args.sides)?;
    let (source, target) = match &map {
        Some(map) => (
            fitting(&args.sides.source, source.try_map(|vectors| map.source(vectors)))?,
            fitting(&args.sides.target, target.try_map(|vectors| map.target(vectors)))?,
        ),
        None => (source.normalized(&steps)?, target.normalized(&steps)?),
    };
    let config = TranslationConfig {
        neighbours: args.neighbours,
        oov: args.oov,
        direction: if args.backward { Direction::Backward } else { Direction::Forward },
    };
    print_json(&score_translations(&source, &target, &dictionary, &config)?)
}
