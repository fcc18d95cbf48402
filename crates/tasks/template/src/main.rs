//! Fine-tunes a reader on SQuAD-style questions, answers other questions and scores the answers.
use std::error::Error;
use std::path::Path;

use mlqa_eval::{Dataset, Language, Normalization, WindowConfig};
use tasks::question_answering::{QaConfig, QaData, QaPredictor, QaTask, evaluate_file};
use tch::Device;
use trainer::{Environment, Stage, TrainConfig, fit};
use xlmr_model::{Head, LoadOptions, Pretrained};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, train, dev, out] = arguments.as_slice() else {
        return Err("usage: tasks-template MODEL TRAIN.json DEV.json OUT".into());
    };
    let out = Path::new(out);

    // XLM-R and a new span head; contexts are split into windows that fit the model.
    let options = LoadOptions::default();
    let (base, _) = Pretrained::load(model, &[Head::Span], Device::Cpu, options)?;
    let questions = Dataset::read(train)?.questions;
    let windows = WindowConfig { max_length: 128, doc_stride: 32, ..WindowConfig::default() };
    let data = QaData { questions: &questions, question_entity_spans: None, windows: &windows };
    let mut task = QaTask::new(&base.model, &base.tokenizer, &data, &QaConfig::default())?;

    // A stopped run resumes from its last checkpoint.
    let config = TrainConfig { epochs: 2, checkpoint_steps: Some(200), ..TrainConfig::default() };
    let (threads, float32_matmul) = (tch::get_num_threads(), "highest".into());
    let environment = Environment { threads, device: "cpu".into(), float32_matmul };
    let stage = Stage::new("fine-tune", out.join("fine-tune"), environment);
    let report = fit(&stage, &config, &base.model.named_parameters(), &mut task)?;
    base.save(out.join("model"), Head::Span)?;
    println!("{} steps, loss {:.3}", report.steps, report.final_loss);

    let predictor = QaPredictor::new(&base.model, &base.tokenizer, &windows);
    let rules = Normalization::Mlqa(Language::EN);
    let score = evaluate_file(&predictor, dev, rules, out.join("predictions.json"))?;
    println!("{}", score.official_json());
    Ok(())
}
