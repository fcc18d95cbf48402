//! Data-parallel training, compared with training in one process.
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use objectives::{MaskedLmConfig, MaskedLmReduction, masked_lm, masked_positions};
use rand::Rng;
use tch::{Device, Kind, Tensor};
use torch_ext::{ProcessGroup, Rendezvous, TensorMap, read_tensors, write_tensors};
use trainer::{
    ExampleStream, Examples, Fingerprint, MicroBatch, ShardedJsonl, Shards, ShuffleConfig, Stage,
    Step, StepLosses, StepMetrics, Task, TaskError, TrainConfig, WeightedLoss, accumulate, fit,
    pad_mask, pad_rows,
};
use xlmr_model::{Config, Head, Inputs, Model};

use crate::common::{lock_rng, metrics_lines, stage};

/// Predicts masked tokens with a model that has dropout, in micro-batches.
pub struct MaskedLmTask<'a> {
    model: &'a Model,
    rows: Vec<Vec<i64>>,
    lengths: Vec<usize>,
    /// The stream of examples, used instead of `rows`.
    stream: Option<ExampleStream<ShardedJsonl<Vec<i64>>>>,
}

/// Returns rows of 4 to 10 token ids.
fn token_rows(count: usize) -> Vec<Vec<i64>> {
    let mut rng = trainer::rng_for(5, "rows", 0);
    (0..count).map(|k| (0..4 + k % 7).map(|_| rng.random_range(5..40)).collect()).collect()
}

impl<'a> MaskedLmTask<'a> {
    pub fn new(model: &'a Model) -> Self {
        let rows = token_rows(30);
        let lengths = rows.iter().map(Vec::len).collect();
        Self { model, rows, lengths, stream: None }
    }

    /// Creates a task that streams the shards in `folder`, in blocks of seven lines.
    fn streamed(model: &'a Model, folder: &Path) -> Self {
        let shuffle = ShuffleConfig { lines: 7, open_shards: 1, ..ShuffleConfig::default() };
        let source = ShardedJsonl::new(Shards::open([folder]).unwrap(), shuffle).unwrap();
        let stream = Some(ExampleStream::new(source, Vec::len));
        Self { model, rows: Vec::new(), lengths: Vec::new(), stream }
    }

    fn loss_sum(&self, rows: &[(Vec<i64>, Vec<i64>)]) -> Result<Tensor, TaskError> {
        let ids: Vec<&[i64]> = rows.iter().map(|(ids, _)| ids.as_slice()).collect();
        let labels: Vec<&[i64]> = rows.iter().map(|(_, labels)| labels.as_slice()).collect();
        let inputs = Inputs {
            attention_mask: pad_mask(&ids, Device::Cpu)?,
            ..Inputs::new(pad_rows(&ids, 1, Device::Cpu)?)
        };
        let masked = masked_positions(&pad_rows(&labels, -100, Device::Cpu)?)?;
        let hidden = masked.gather(&self.model.encode(&inputs, true)?)?;
        let logits = self.model.mlm_logits(&hidden)?;
        let config = MaskedLmConfig { reduction: MaskedLmReduction::Sum };
        Ok(masked_lm(&logits, &masked.targets, &config)?)
    }
}

impl Task for MaskedLmTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        match &mut self.stream {
            Some(stream) => Examples::Streamed(stream),
            None => Examples::Indexed(&self.lengths),
        }
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("name", "guess");
        if std::env::var("TEST_VARIANT").is_ok_and(|variant| variant == "data") {
            fingerprint.add("rank", std::env::var("RANK").unwrap());
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let all_rows = self.stream.as_ref().map_or(self.rows.as_slice(), ExampleStream::batch);
        let mut mask = |k: &usize| {
            let mut row = all_rows[*k].clone();
            let mut labels = vec![-100; row.len()];
            let position = step.rng.random_range(0..row.len());
            (labels[position], row[position]) = (row[position], 4);
            (row, labels)
        };
        let rows: Vec<(Vec<i64>, Vec<i64>)> = step.batch.iter().map(&mut mask).collect();
        let row_count = rows.len() as f64;
        let parts = MicroBatch::cut(&rows, step.micro_batch.unwrap_or(rows.len()));
        accumulate(&step.context, &parts, |rows| {
            let loss = self.loss_sum(rows)? / row_count;
            Ok(vec![WeightedLoss { name: "mlm", weight: 1.0, loss }])
        })
    }

    fn supports_micro_batches(&self) -> bool {
        true
    }
}

pub fn tiny_model(seed: u64) -> Model {
    let config = Config {
        hidden_size: 16,
        num_attention_heads: 2,
        num_hidden_layers: 2,
        intermediate_size: 32,
        hidden_dropout_prob: 0.1,
        attention_probs_dropout_prob: 0.1,
        ..Config::tiny(40)
    };
    Model::new(&config, &[Head::MaskedLm], Device::Cpu, seed).unwrap()
}

fn stage_of_rank(
    folder: &Path,
    rank: usize,
    group: Option<ProcessGroup>,
    interrupt_after: Option<u64>,
) -> Stage {
    let rank_folder = if rank == 0 { folder.to_owned() } else { folder.join("follower") };
    stage(&rank_folder, interrupt_after).with_group(group.map(Rc::new))
}

fn file_of_rank(folder: &Path, rank: usize) -> PathBuf {
    folder.join(format!("rank-{rank}.safetensors"))
}

fn write_parameters(folder: &Path, rank: usize, parameters: &[(String, Tensor)]) {
    let detached: Vec<_> =
        parameters.iter().map(|(name, tensor)| (name, tensor.detach())).collect();
    let named = detached.iter().map(|(name, tensor)| (name.as_str(), tensor));
    write_tensors(file_of_rank(folder, rank), named, &[]).unwrap();
}

/// Reads the parameters that rank 0 wrote.
fn rank_0_parameters(folder: &Path) -> TensorMap {
    read_tensors(file_of_rank(folder, 0)).unwrap()
}

/// Trains in `folder`, and writes the parameters to the file of the rank.
fn train(folder: &Path, group: Option<ProcessGroup>, interrupt_after: Option<u64>) {
    tch::set_num_threads(1);
    let rank = group.as_ref().map_or(0, ProcessGroup::rank);
    // Each rank has different initial weights, which are replaced by the weights of rank 0.
    let seed = 3 + u64::try_from(rank).unwrap();
    let model = tiny_model(seed);
    let parameters = model.named_parameters();
    let config = TrainConfig {
        learning_rate: 1e-3,
        batch_size: 4,
        steps: Some(20),
        checkpoint_steps: Some(5),
        log_steps: 1,
        ..TrainConfig::default()
    };
    let variant = std::env::var("TEST_VARIANT").unwrap_or_default();
    let config = match variant.as_str() {
        "seed" => TrainConfig { seed: 42 + u64::try_from(rank).unwrap(), ..config },
        _ => config,
    };
    let stage = stage_of_rank(folder, rank, group, interrupt_after);
    let shards = folder.join("shards");
    let mut task = match shards.exists() {
        true => MaskedLmTask::streamed(&model, &shards),
        false => MaskedLmTask::new(&model),
    };
    fit(&stage, &config, &parameters, &mut task).unwrap();
    write_parameters(folder, rank, &parameters);
}

/// A task with dense and sparse gradients. Some gradients occur only on some ranks.
struct MixedGradients {
    /// A parameter with more elements than a communication bucket.
    big: Tensor,
    tiny: Tensor,
    embedding: Tensor,
    has_nan: bool,
}

impl Task for MixedGradients {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&[1; 12])
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("name", "shared");
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let batch_index = step.batch_index;
        let parts = MicroBatch::cut(step.batch, 1);
        accumulate(&step.context, &parts, |examples| {
            let mut loss = Tensor::from(0f32);
            for &example in *examples {
                let row = i64::try_from(example)?;
                // Gradients of `embedding` are sparse in the second step; in the fourth step, they
                // are dense on some ranks.
                let embedding = match batch_index == 1 || (batch_index == 3 && example % 2 == 0) {
                    true => Tensor::embedding(&self.embedding, &Tensor::from(row), -1, false, true),
                    false => self.embedding.square(),
                };
                loss += (self.big.select(0, 200 * row) - row).square().mean(Kind::Float);
                loss += (embedding * (row + 1)).sum(Kind::Float);
                if example % 3 == 0 {
                    loss += self.tiny.square().sum(Kind::Float);
                }
                if self.has_nan && batch_index == 1 {
                    loss += self.big.view([-1]).select(0, -1) * f64::NAN;
                }
            }
            Ok(vec![WeightedLoss { name: "loss", weight: 1.0, loss }])
        })
    }

    fn supports_micro_batches(&self) -> bool {
        true
    }
}

/// Trains with [`MixedGradients`], and writes the parameters to the file of the rank.
fn train_mixed_gradients(folder: &Path, group: Option<ProcessGroup>, interrupt_after: Option<u64>) {
    tch::set_num_threads(1);
    let rank = group.as_ref().map_or(0, ProcessGroup::rank);
    let filled = |shape: &[i64]| {
        let count = shape.iter().product::<i64>();
        Tensor::linspace(-1, 1, count, (Kind::Float, Device::Cpu)).view(shape)
    };
    let has_nan = std::env::var("TEST_VARIANT").is_ok_and(|variant| variant == "shared-nan");
    let [big, tiny, embedding] = [&[2600, 2600][..], &[7], &[50, 16]].map(filled);
    let mut task = MixedGradients { big, tiny, embedding, has_nan };
    let named = [("big", &task.big), ("tiny", &task.tiny), ("embedding", &task.embedding)];
    let parameters = named.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()));
    let config = TrainConfig {
        learning_rate: 1e-2,
        weight_decay: 0.1,
        batch_size: 3,
        micro_batch: Some(1),
        steps: Some(6),
        checkpoint_steps: Some(2),
        ..TrainConfig::default()
    };
    let stage = stage_of_rank(folder, rank, group, interrupt_after);
    fit(&stage, &config, &parameters, &mut task).unwrap();
    write_parameters(folder, rank, &parameters);
}

/// Runs one rank; the tests below start this function in separate processes.
#[test]
#[ignore = "started by another test"]
fn run_rank() {
    let seconds = std::env::var("TEST_SECONDS").map_or(60, |seconds| seconds.parse().unwrap());
    let timeout = Duration::from_secs(seconds);
    let connect = |rendezvous| ProcessGroup::connect(&rendezvous, timeout, timeout).unwrap();
    let group = Rendezvous::from_env().unwrap().map(connect);
    let steps = std::env::var("TEST_STEPS").ok().map(|steps| steps.parse().unwrap());
    let has_mixed_gradients =
        std::env::var("TEST_VARIANT").is_ok_and(|variant| variant.starts_with("shared"));
    let train = if has_mixed_gradients { train_mixed_gradients } else { train };
    train(Path::new(&std::env::var("TEST_FOLDER").unwrap()), group, steps);
}

/// Starts `size` processes that train `steps` steps in `folder`, with a timeout of `seconds`.
fn start_ranks(folder: &Path, size: usize, steps: Option<u64>, seconds: u64) -> Vec<Child> {
    start_ranks_with(folder, size, steps, seconds, "")
}

/// Starts training in `folder` with `size` processes and a variant of the test: with `seed` and
/// `data`, the ranks differ; with `shared` and `shared-nan`, they train [`MixedGradients`].
fn start_ranks_with(
    folder: &Path,
    size: usize,
    steps: Option<u64>,
    seconds: u64,
    variant: &str,
) -> Vec<Child> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = |rank: usize| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "ranks::run_rank", "--ignored", "--nocapture"]);
        command.env("WORLD_SIZE", size.to_string()).env("RANK", rank.to_string());
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
        command.env("TEST_FOLDER", folder).env("TEST_SECONDS", seconds.to_string());
        command.env("TEST_VARIANT", variant);
        command.envs(steps.map(|steps| ("TEST_STEPS", steps.to_string())));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    (0..size).map(start).collect()
}

fn output_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn expect_success(ranks: Vec<Child>) {
    for child in ranks {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", output_text(&output));
    }
}

/// Expects that all ranks end with an error that contains `message`.
fn expect_failure(ranks: Vec<Child>, message: &str) {
    for child in ranks {
        let output = child.wait_with_output().unwrap();
        let text = output_text(&output);
        assert!(!output.status.success() && text.contains(message), "{text}");
    }
}

/// Trains on two ranks, checks that both have equal parameters, and returns the parameters.
fn train_on_two_ranks(folder: &Path, steps: Option<u64>) -> TensorMap {
    expect_success(start_ranks(folder, 2, steps, 60));
    let [rank_0, rank_1] = [0, 1].map(|rank| read_tensors(file_of_rank(folder, rank)).unwrap());
    assert_eq!(rank_0, rank_1);
    assert!(!folder.join("follower/checkpoints").exists());
    rank_0
}

fn logged_losses(folder: &Path) -> Vec<f64> {
    metrics_lines::<StepMetrics>(folder).iter().map(|line| line.loss).collect()
}

/// Asserts that all differences are below `bound`.
#[track_caller]
fn assert_close(a: &TensorMap, b: &TensorMap, bound: f64) {
    for (name, tensor) in a {
        let difference = (tensor - &b[name]).abs().max().to_kind(Kind::Double).double_value(&[]);
        assert!(difference < bound, "{name}: {difference}");
    }
}

#[test]
fn two_processes_train_like_one_and_reproducibly() {
    let _lock = lock_rng();
    let folders: [_; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let [single_folder, two_folder, repeated_folder] =
        folders.each_ref().map(tempfile::TempDir::path);
    train(single_folder, None, None);
    let single_process = rank_0_parameters(single_folder);
    let two_processes = train_on_two_ranks(two_folder, None);
    let (a, b) = (logged_losses(single_folder), logged_losses(two_folder));
    assert_eq!((a.len(), b.len()), (20, 20));
    assert!((a[0] - b[0]).abs() < 1e-6 * a[0], "{} and {}", a[0], b[0]);
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() < 1e-4, "{a} and {b}");
    }
    assert_close(&single_process, &two_processes, 1e-3);
    assert!(logged_losses(two_folder)[19] < logged_losses(two_folder)[0]);
    assert_eq!(train_on_two_ranks(repeated_folder, None), two_processes);
}

#[test]
fn one_or_two_processes_resume_from_a_checkpoint_of_two() {
    let _lock = lock_rng();
    let folders: [_; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let [uninterrupted, interrupted, single_folder] =
        folders.each_ref().map(tempfile::TempDir::path);
    let want = train_on_two_ranks(uninterrupted, None);
    // The run stops at step 8, after the checkpoint of step 5.
    train_on_two_ranks(interrupted, Some(8));
    let copy_files = |from: &str| {
        std::fs::create_dir_all(single_folder.join(from)).unwrap();
        for entry in std::fs::read_dir(interrupted.join(from)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), single_folder.join(from).join(entry.file_name()))
                    .unwrap();
            }
        }
    };
    copy_files("");
    copy_files("checkpoints/step-00000005");
    assert_eq!(train_on_two_ranks(interrupted, None), want);
    train(single_folder, None, None);
    let single_process = rank_0_parameters(single_folder);
    assert_close(&single_process, &want, 1e-3);
}

#[test]
fn ranks_with_sharded_updates_train_like_one_process_and_resume() {
    let _lock = lock_rng();
    let new_folder = || tempfile::tempdir().unwrap();
    let train_on_ranks = |folder: &Path, size: usize, steps: Option<u64>| {
        expect_success(start_ranks_with(folder, size, steps, 60, "shared"));
        let read = |rank| read_tensors(file_of_rank(folder, rank)).unwrap();
        let all_ranks: Vec<TensorMap> = (0..size).map(read).collect();
        assert!(all_ranks.iter().all(|tensors| Some(tensors) == all_ranks.first()));
        let checkpoint = folder.join("checkpoints/step-00000006/optimizer.safetensors");
        (
            all_ranks.into_iter().next().unwrap(),
            steps.is_none().then(|| read_tensors(checkpoint).unwrap()),
        )
    };
    let single_folder = new_folder();
    train_mixed_gradients(single_folder.path(), None, None);
    let single_process = rank_0_parameters(single_folder.path());
    let moments = single_folder.path().join("checkpoints/step-00000006/optimizer.safetensors");
    let moments = read_tensors(moments).unwrap();
    for size in [2, 3] {
        let (uninterrupted, interrupted) = (new_folder(), new_folder());
        let (parameters, rank_moments) = train_on_ranks(uninterrupted.path(), size, None);
        assert_close(&single_process, &parameters, 1e-5);
        let rank_moments = rank_moments.unwrap();
        assert_close(&moments, &rank_moments, 1e-5);
        if size == 2 {
            train_on_ranks(interrupted.path(), size, Some(3));
            let (resumed, resumed_moments) = train_on_ranks(interrupted.path(), size, None);
            assert_eq!((resumed, resumed_moments.unwrap()), (parameters, rank_moments));
        }
    }
}

#[test]
fn all_ranks_report_differences_and_non_finite_gradients() {
    for (variant, message) in [
        ("shared-nan", "(of big)"),
        ("seed", "seed is 42 on rank 0 and 43 on rank 1"),
        ("data", "rank 1 has another task or other data than rank 0"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        expect_failure(start_ranks_with(folder.path(), 2, None, 60, variant), message);
    }
}

#[test]
fn a_killed_rank_stops_the_other_rank_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut ranks = start_ranks(folder.path(), 2, None, 5);
    let mut follower = ranks.pop().unwrap();
    follower.kill().unwrap();
    follower.wait().unwrap();
    expect_failure(ranks, "rank 0 of 2");
}

/// Waits until training has logged `lines` steps, waits for a random time, and kills some of the
/// processes; the other processes end with an error. Returns whether a process was killed before
/// the end of training.
fn kill_after(mut processes: Vec<Child>, folder: &Path, lines: usize, rng: &mut impl Rng) -> bool {
    let logged_steps = || {
        let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
        text.lines().count()
    };
    let start = Instant::now();
    while logged_steps() < lines
        && processes.iter_mut().all(|process| process.try_wait().unwrap().is_none())
    {
        assert!(start.elapsed() < Duration::from_secs(300), "{} of {lines} steps", logged_steps());
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_micros(rng.random_range(0..8_000)));
    // Bit k is set if process k is killed.
    let killed_mask = rng.random_range(1..1 << processes.len());
    for (number, process) in processes.iter_mut().enumerate() {
        if killed_mask >> number & 1 == 1 {
            process.kill().unwrap();
        }
    }
    let statuses = processes.iter_mut().map(|process| process.wait().unwrap());
    statuses.collect::<Vec<_>>().iter().any(|status| !status.success())
}

/// Kills training at up to three random moments, and then completes it. Each completed run must
/// equal an uninterrupted run. This is repeated with new runs until enough processes were killed.
fn check_resuming_after_random_kills(size: usize) {
    let _lock = lock_rng();
    let kills = if testkit::is_long() { 50 } else { 3 };
    let folder_with_shards = || {
        let folder = tempfile::tempdir().unwrap();
        let shards = folder.path().join("shards");
        std::fs::create_dir(&shards).unwrap();
        for (number, rows) in token_rows(33).chunks(20).enumerate() {
            let line = |row: &Vec<i64>| serde_json::to_string(row).unwrap() + "\n";
            let text: String = rows.iter().map(line).collect();
            std::fs::write(shards.join(format!("{number}.jsonl")), text).unwrap();
        }
        folder
    };
    let finish = |folder: &Path| {
        expect_success(start_ranks(folder, size, None, 60));
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        (read("rank-0.safetensors"), read("metrics.jsonl"))
    };
    let uninterrupted = folder_with_shards();
    let want = finish(uninterrupted.path());
    // Checkpoints are in the middle of a shard and of a block: here, after 24 of 33 rows.
    let state = uninterrupted.path().join("checkpoints/step-00000015/state.json");
    let state = std::fs::read_to_string(state).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    let position = &state["streams"][0]["position"];
    assert_eq!((&position["block"], &position["given"]), (&3.into(), &3.into()), "{position}");
    let mut rng = rand::rng();
    let mut killed = 0;
    while killed < kills {
        let interrupted = folder_with_shards();
        // Step 7 is between the checkpoints of steps 5 and 10.
        let mut kill_steps = vec![7, rng.random_range(1..20), rng.random_range(1..20)];
        kill_steps.sort_unstable();
        for lines in kill_steps {
            let processes = start_ranks(interrupted.path(), size, None, 5);
            killed += usize::from(kill_after(processes, interrupted.path(), lines, &mut rng));
        }
        assert!(finish(interrupted.path()) == want, "another result after {killed} kills");
    }
}

#[test]
fn two_processes_killed_in_the_middle_of_a_shard_resume_with_equal_results() {
    check_resuming_after_random_kills(2);
}

#[test]
fn a_process_killed_in_the_middle_of_a_shard_resumes_with_equal_results() {
    check_resuming_after_random_kills(1);
}
