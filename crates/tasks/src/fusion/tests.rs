//! Tests of fused tasks: losses, pairs, stored scores and answers.
use std::path::Path;

use mlqa_eval::{Answer, NBest, Purpose, Question, UnanswerableWindow, WindowConfig};
use objectives::SoftmaxOver;
use objectives::tch::{Device, no_grad};
use tokenizers::Tokenizer;
use trainer::{Fingerprint, Step, StepLosses, Task};
use xlmr_model::{Config, FusionConfig, Head, Model, read_tokenizer};

use super::*;
use crate::Encoder;
use crate::question_answering::{QaConfig, QaData, QaPredictor, QaTask, WindowBatch};
use crate::testing::{assert_bf16_is_near_f32, assert_parts_are_the_whole, model};

fn tokenizer() -> Tokenizer {
    read_tokenizer(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/base")).unwrap()
}

fn question(id: &str, question: &str, context: &str, answer: &str) -> Question {
    let answer_start = context.chars().count()
        - context.split_once(answer).map(|(_, rest)| rest.chars().count()).unwrap()
        - answer.chars().count();
    Question {
        id: id.into(),
        question: question.into(),
        context: context.into(),
        answers: vec![Answer { text: answer.into(), answer_start }],
        title: "".into(),
    }
}

/// Three questions and their translations. The translation of the first context is longer than the
/// context, that of the last one is shorter.
fn questions() -> (Vec<Question>, Vec<Question>) {
    let fill = "The capital of Peru is a city . ";
    let german = [
        question("a", "Welche Sprache ?", "Die Sprache von Peru ist Spanisch .", "Spanisch"),
        question("b", "Welche Stadt ?", "Die Stadt heißt Lima .", "Lima"),
        question(
            "c",
            "Welches Land ?",
            &format!("{}Das Land ist Ghana .", fill.repeat(6)),
            "Ghana",
        ),
    ];
    let english = [
        question("a", "Which language ?", &format!("{}It is Spanish .", fill.repeat(5)), "Spanish"),
        question("b", "Which city ?", "The city is called Lima .", "Lima"),
        question("c", "Which country ?", "The country is Ghana .", "Ghana"),
    ];
    (german.into(), english.into())
}

fn windows() -> WindowConfig {
    WindowConfig { max_length: 40, doc_stride: 10, ..WindowConfig::default() }
}

fn config(cross: usize) -> FusedQaConfig {
    let fusion = FusionConfig { local: 1, cross };
    FusedQaConfig { fusion, context_only: true, ..FusedQaConfig::default() }
}

fn task<'a>(model: &'a Model, config: &FusedQaConfig, windows: &WindowConfig) -> FusedQaTask<'a> {
    let (german, english) = questions();
    FusedQaTask::new(model, &tokenizer(), (&german, &english), windows, config).unwrap()
}

fn losses(task: &mut dyn Task, batch: &[usize]) -> StepLosses {
    let rng = trainer::rng_for(1, "step", 0);
    task.losses(&mut Step { batch, number: 0, total: 1, micro_batch: None, rng }).unwrap()
}

fn part(losses: &StepLosses, name: &str) -> f64 {
    losses.parts.iter().find(|(part, _)| *part == name).unwrap().1.double_value(&[])
}

fn seeded(seed: u64) -> Model {
    let other = model(4000);
    for (number, (_, mut parameter)) in (0..).zip(other.named_parameters()) {
        let size = parameter.size();
        let noise = torch_ext::seeded_randn(&size, seed as i64 * 1000 + number).unwrap();
        no_grad(|| parameter += noise * 0.05);
    }
    other
}

#[test]
fn windows_meet_by_number_or_each_with_each() {
    let (german, english) = questions();
    let pairs = |pairing| {
        let tokenizer = tokenizer();
        WindowPairs::new(&german, &english, &tokenizer, &windows(), pairing, Purpose::Train)
            .unwrap()
    };
    let by_number = pairs(WindowPairing::ByNumber);
    let count = |windows: &[mlqa_eval::Window], question| {
        windows.iter().filter(|window| window.question == question).count()
    };
    let (own, other) = (
        [0, 1, 2].map(|k| count(&by_number.target, k)),
        [0, 1, 2].map(|k| count(&by_number.source, k)),
    );
    assert!(own[0] == 1 && other[0] > 1 && own[2] > 1 && other[2] == 1, "{own:?} {other:?}");
    let mut want = Vec::new();
    let (mut first, mut second) = (0, 0);
    for question in 0..3 {
        for k in 0..own[question].max(other[question]) {
            want.push((first + k.min(own[question] - 1), second + k.min(other[question] - 1)));
        }
        (first, second) = (first + own[question], second + other[question]);
    }
    assert_eq!(by_number.pairs, want);
    for (target, source) in by_number.iter() {
        assert_eq!(target.question, source.question);
    }
    let all = pairs(WindowPairing::AllPairs);
    assert_eq!(all.pairs.len(), (0..3).map(|k| own[k] * other[k]).sum::<usize>());
    // The English answer to the first question is only in its last window, the German answer in the
    // first half of each pair. The last question is the reverse.
    let counts = by_number.counts();
    assert_eq!((counts.both, counts.pairs), (3, want.len()));
    assert_eq!(counts.target_alone, other[0] - 1);
    assert_eq!(counts.source_alone, own[2] - 1);
    assert!(counts.to_string().contains("of those that have it there"), "{counts}");
    // No window is skipped, even if windows without the answer are dropped.
    let dropping = WindowConfig { unanswerable_window: UnanswerableWindow::Drop, ..windows() };
    let (pairing, train) = (WindowPairing::ByNumber, Purpose::Train);
    let same =
        WindowPairs::new(&german, &english, &tokenizer(), &dropping, pairing, train).unwrap();
    assert_eq!((same.pairs, same.target.len()), (want, by_number.target.len()));
    let error = WindowPairs::new(&german, &english[1..], &tokenizer(), &dropping, pairing, train)
        .unwrap_err();
    assert_eq!(error.to_string(), "translations: expected 3, one for each question, got 2");
}

#[test]
fn halves_that_never_meet_have_the_losses_of_plain_readers() {
    let model = model(4000);
    let (tokenizer, windows) = (tokenizer(), windows());
    let (german, english) = questions();
    // The second question has one window per language, which is pair 0 of a separate task.
    let (german, english) = (&german[1..2], &english[1..2]);
    let mut fused =
        FusedQaTask::new(&model, &tokenizer, (german, english), &windows, &config(0)).unwrap();
    let got = losses(&mut fused, &[0]);
    let plain = |questions: &[Question]| {
        let data = QaData { questions, question_entity_spans: None, windows: &windows };
        let config = QaConfig { context_only: true, ..QaConfig::default() };
        let mut task = QaTask::new(&model, &tokenizer, &data, &config).unwrap();
        part(&losses(&mut task, &[0]), "span")
    };
    let (target, source) = (plain(german), plain(english));
    assert_eq!((part(&got, "target"), part(&got, "source")), (target, source));
    assert!((got.total.double_value(&[]) - target - source).abs() < 1e-6);
    // If the texts attend to each other, the losses differ.
    let mut fused =
        FusedQaTask::new(&model, &tokenizer, (german, english), &windows, &config(1)).unwrap();
    assert_ne!(part(&losses(&mut fused, &[0]), "target"), target);
}

#[test]
fn loss_of_windows_without_the_answer_is_optional() {
    let model = model(4000);
    let cls = task(&model, &config(1), &windows());
    let dropping = WindowConfig { unanswerable_window: UnanswerableWindow::Drop, ..windows() };
    let mut drop = task(&model, &config(1), &dropping);
    assert_eq!(cls.counts(), drop.counts());
    // The first pair's source half lacks the answer, so only its target half has a loss.
    let (target, source) = drop.head.pairs.get(0).unwrap();
    assert!(target.start_position > Some(0) && source.start_position == Some(0));
    let names = |losses: &StepLosses| losses.parts.iter().map(|part| part.0).collect::<Vec<_>>();
    assert_eq!(names(&losses(&mut drop, &[0])), ["target"]);
    let mut cls = cls;
    assert_eq!(names(&losses(&mut cls, &[0])), ["source", "target"]);
    // The mean of a batch is over the halves that have a loss.
    let alone = part(&losses(&mut drop, &[0]), "target");
    let of_one = drop.head.pairs.pairs.iter().position(|&(target, _)| target == 1).unwrap();
    let both = losses(&mut drop, &[0, of_one]);
    let other = losses(&mut drop, &[of_one]);
    let mean = (alone + part(&other, "target")) / 2.0;
    assert!((part(&both, "target") - mean).abs() < 1e-5);
    assert!((part(&both, "source") - part(&other, "source")).abs() < 1e-5);
    let hash = |task: &FusedQaTask<'_>| {
        let mut fingerprint = Fingerprint::new();
        Task::fingerprint(task, &mut fingerprint);
        fingerprint.finish().unwrap()
    };
    assert_ne!(hash(&cls), hash(&drop));
}

/// T² times the KL divergence of a row, computed with loops.
fn divergence(student: &[f32], teacher: &[f32], t: f64) -> f64 {
    let softmax = |logits: &[f32]| -> Vec<f64> {
        let powers: Vec<f64> = logits.iter().map(|&x| (f64::from(x) / t).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|power| power / sum).collect()
    };
    let (q, p) = (softmax(student), softmax(teacher));
    t * t * p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum::<f64>()
}

#[test]
fn phase_two_adds_the_divergence_from_the_teacher() {
    let (student, teacher) = (model(4000), seeded(3));
    let mut config = config(1);
    (config.soft.alpha, config.soft.loss.temperature) = (0.3, 2.0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.safetensors");
    for positions in [SoftPositions::Tokens, SoftPositions::Context] {
        config.soft.positions = positions;
        let task = task(&student, &config, &windows());
        let (scores, _) = task.teacher_logits(&path, &teacher, 2).unwrap();
        let batch: Vec<usize> = (0..task.head.pairs.pairs.len()).collect();
        let mut want = 0.0;
        for &example in &batch {
            let (target, source) = task.head.pairs.get(example).unwrap();
            let inputs = |window| WindowBatch::new(&[window], true, &student).unwrap().inputs;
            let logits = |model: &Model| {
                let (target, source) = (inputs(target), inputs(source));
                let (own, _) = model.encode_pair(&target, &source, &config.fusion, false).unwrap();
                let (start, end) = model.span_logits(&own, false).unwrap();
                [start, end].map(|side| Vec::<f32>::try_from(&side.get(0)).unwrap())
            };
            let range = match positions {
                SoftPositions::Tokens => 0..target.input_ids.len(),
                SoftPositions::Context => target.context_start..target.context_end,
            };
            let (ours, theirs) = (logits(&student), logits(&teacher));
            for side in 0..2 {
                let (ours, theirs) = (&ours[side][range.clone()], &theirs[side][range.clone()]);
                want += divergence(ours, theirs, 2.0) / 2.0;
                for (stored, got) in scores.row(side, example)[range.clone()].iter().zip(theirs) {
                    assert!((stored - got).abs() < 1e-4);
                }
            }
        }
        want /= batch.len() as f64;
        let plain = losses(&mut self::task(&student, &config, &windows()), &batch);
        let mut task = task.with_teacher(scores).unwrap();
        let got = losses(&mut task, &batch);
        let soft = part(&got, "soft");
        assert!(soft > 1e-3 && (soft - want).abs() < 1e-3 * want, "{soft} {want}");
        for name in ["source", "target"] {
            assert_eq!(part(&got, name), part(&plain, name));
        }
        let total = part(&got, "source") + 0.7 * part(&got, "target") + 0.3 * soft;
        assert!((got.total.double_value(&[]) - total).abs() < 1e-5);
    }
    // A teacher that equals the student has divergence 0.
    let task = task(&student, &config, &windows());
    let path = folder.path().join("itself.safetensors");
    let (scores, _) = task.teacher_logits(&path, &student, 64).unwrap();
    let mut task = task.with_teacher(scores).unwrap();
    assert!(part(&losses(&mut task, &[0, 1, 2]), "soft").abs() < 1e-6);
}

#[test]
fn scores_are_kept_once_and_belong_to_teacher_examples_and_options() {
    let (student, teacher) = (model(4000), seeded(3));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.safetensors");
    let task = task(&student, &config(1), &windows());
    let (computed, read) = task.teacher_logits(&path, &teacher, 2).unwrap();
    assert!(!read);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(task.teacher_logits(&path, &teacher, 64).unwrap(), (computed.clone(), true));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing else is left");
    assert_eq!((computed.len(), computed.is_empty()), (task.head.pairs.pairs.len(), false));
    assert_eq!(computed.row(0, 99), [0f32; 0]);

    // Stored logits of another teacher, other examples or other layers are rejected.
    let all_pairs = FusedQaConfig { pairing: WindowPairing::AllPairs, ..config(1) };
    let (other_layers, other_pairs) = (
        self::task(&student, &config(0), &windows()),
        self::task(&student, &all_pairs, &windows()),
    );
    let longer = WindowConfig { max_length: 60, ..windows() };
    let other_windows = self::task(&student, &config(1), &longer);
    for (task, teacher) in
        [(&task, &student), (&other_layers, &teacher), (&other_windows, &teacher)]
    {
        let error = task.teacher_logits(&path, teacher, 2).unwrap_err().to_string();
        assert!(error.contains("teacher.safetensors: the scores of another teacher"), "{error}");
        assert!(error.contains("remove the file to compute them again"), "{error}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused file stays");
    let error = other_windows.with_teacher(computed.clone()).err().unwrap().to_string();
    assert!(error.starts_with("teacher's "), "{error}");
    assert_eq!(other_pairs.counts().both, 3);

    std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    let error = task.teacher_logits(&path, &teacher, 2).unwrap_err().to_string();
    assert!(error.contains("teacher.safetensors"), "{error}");

    // The mean of two teachers.
    let (second, _) =
        task.teacher_logits(&folder.path().join("second.safetensors"), &student, 2).unwrap();
    let mean = TeacherLogits::mean(&[computed.clone(), second.clone()]).unwrap();
    for example in 0..mean.len() {
        let rows = [&mean, &computed, &second].map(|all| all.row(1, example));
        for ((mean, a), b) in rows[0].iter().zip(rows[1]).zip(rows[2]) {
            assert!((mean - (a + b) / 2.0).abs() < 1e-6);
        }
    }
    assert!(TeacherLogits::mean(&[]).is_err());
    let short = TeacherLogits::of_rows(&[vec![vec![1.0], vec![2.0]]], 2).unwrap();
    let error = TeacherLogits::mean(&[computed, short]).unwrap_err().to_string();
    assert!(error.starts_with("logits of teacher 2: "), "{error}");
}

#[test]
fn a_batch_in_parts_is_the_whole_and_bfloat16_is_near() {
    let (student, teacher) = (seeded(5), seeded(3));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.safetensors");
    let dropping = WindowConfig { unanswerable_window: UnanswerableWindow::Drop, ..windows() };
    let mut config = config(1);
    config.soft.loss.temperature = 1.0;
    let batch = [0, 1, 2, 3, 4, 5];
    let parameters = student.named_parameters();
    let taught = || {
        let task = task(&student, &config, &dropping);
        let (scores, _) = task.teacher_logits(&path, &teacher, 8).unwrap();
        task.with_teacher(scores).unwrap()
    };
    assert!(taught().head.pairs.pairs.len() >= batch.len());
    assert_parts_are_the_whole(&parameters, || task(&student, &config, &dropping), &batch);
    assert_parts_are_the_whole(&parameters, taught, &batch);
    assert_bf16_is_near_f32(&parameters, taught, &batch);
    // A softmax over the batch cannot be split into micro-batches, nor can a mean over positions of
    // rows of different lengths.
    for over in [SoftmaxOver::Batch, SoftmaxOver::RowPositions] {
        let mut config = config.clone();
        config.soft.loss.over = over;
        let task = task(&student, &config, &dropping);
        assert!(task.supports_micro_batches());
        let (scores, _) = task.teacher_logits(&path, &teacher, 8).unwrap();
        assert!(!task.with_teacher(scores).unwrap().supports_micro_batches());
    }
}

fn answers(predictor: &QaPredictor<'_>, questions: &[Question]) -> Vec<(String, Vec<f32>)> {
    let scores = |one: &NBest| one.candidates.iter().map(|one| one.score).collect();
    let all = predictor.predict(questions).unwrap();
    all.iter().map(|one| (one.id.clone(), scores(one))).collect()
}

fn largest_gap(a: &[(String, Vec<f32>)], b: &[(String, Vec<f32>)]) -> f32 {
    assert_eq!(a.len(), b.len());
    let mut gap: f32 = 0.0;
    for ((id, one), (other_id, other)) in a.iter().zip(b) {
        assert_eq!(id, other_id);
        for (x, y) in one.iter().zip(other) {
            gap = gap.max((x - y).abs());
        }
    }
    gap
}

#[test]
fn answers_read_a_translation_the_text_itself_or_nothing() {
    let (model, tokenizer) = (seeded(4), tokenizer());
    let (german, english) = questions();
    let translations = by_id(english.clone());
    let plain = QaPredictor::new(&model, &tokenizer, &windows());
    let with = |text, cross, pairing| {
        let fusion = FusionConfig { local: 1, cross };
        let second = SecondReading { fusion, pairing, text, translations: &translations };
        plain.clone().with_second_text(second)
    };
    let (translation, own, none) = (PairedText::Translation, PairedText::Own, PairedText::None);
    let number = WindowPairing::ByNumber;
    let want = answers(&plain, &german);
    assert_eq!(answers(&with(none, 1, number), &german), want);
    // Without cross-attention, further pairs of a window repeat its answers.
    for pairing in [number, WindowPairing::AllPairs] {
        let apart = answers(&with(translation, 0, pairing), &german);
        assert!(largest_gap(&apart, &want) < 1e-4);
    }
    let translated = answers(&with(translation, 1, number), &german);
    let beside_itself = answers(&with(own, 1, number), &german);
    assert!(largest_gap(&translated, &want) > 1e-3);
    // Attention over duplicated keys equals attention over the keys.
    assert!(largest_gap(&beside_itself, &want) < 1e-4);
    // If the translation is the text itself, the two modes agree.
    let english_own = answers(&with(own, 1, number), &english);
    assert_eq!(answers(&with(translation, 1, number), &english), english_own);
    // Batch size and order do not change the answers.
    for size in [1, 2] {
        let batched = with(translation, 1, number).with_batch_size(size);
        assert!(largest_gap(&answers(&batched, &german), &translated) < 1e-4);
    }
    let mut reversed = german.clone();
    reversed.reverse();
    let mut backwards = answers(&with(translation, 1, number), &reversed);
    backwards.reverse();
    assert!(largest_gap(&backwards, &translated) < 1e-4);
    let unknown = [question("z", "Welche ?", "Das rote Haus .", "rote")];
    let error = with(translation, 1, number).predict(&unknown).unwrap_err().to_string();
    assert!(error.starts_with("translation of question z: expected"), "{error}");
    assert!(with(own, 1, number).predict(&unknown).is_ok());
}

#[test]
fn answers_are_carried_back_from_the_translation() {
    let (model, tokenizer) = (seeded(4), tokenizer());
    let (german, english) = questions();
    let reader = QaPredictor::new(&model, &tokenizer, &windows());
    let config = crate::alignment::AlignmentConfig::default();
    let specials = crate::testing::specials();
    let aligner =
        crate::alignment::AnswerAligner::new(&model, &tokenizer, specials, config).unwrap();
    // If the translation is the text itself, projection returns the reader's answers.
    let own = answer_by_projection(&reader, &aligner, &german, &by_id(german.clone())).unwrap();
    for answer in reader.predict(&german).unwrap() {
        assert_eq!(own.0[&answer.id], answer.answer());
    }
    let carried = answer_by_projection(&reader, &aligner, &german, &by_id(english)).unwrap();
    assert_eq!(carried.0.len(), 3);
    for question in &german {
        assert!(question.context.contains(&carried.0[&question.id]));
    }
    let error = answer_by_projection(&reader, &aligner, &german, &by_id([])).unwrap_err();
    assert!(error.to_string().starts_with("translation of question a"), "{error}");
}

fn classifier(seed: u64) -> Model {
    let config = Config {
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        initializer_range: 0.1,
        ..Config::tiny(40)
    };
    let head = Head::SequenceClassification { labels: 4 };
    Model::new(&config, &[head], Device::Cpu, seed).unwrap()
}

/// Six pairs of different lengths.
fn class_pairs() -> Vec<ClassPair> {
    let ids = |length: u32, step: u32| -> Vec<u32> {
        [0].into_iter().chain((0..length).map(|k| 5 + (k * step) % 30)).chain([2]).collect()
    };
    (0..6)
        .map(|k| ClassPair {
            target: ids(2 + k % 4, 7 + k),
            source: ids(5 - k % 3, 3 + k),
            class: i64::from(k % 4),
        })
        .collect()
}

#[test]
fn classes_of_pairs_have_the_cross_entropy_of_both_halves() {
    let (student, teacher) = (classifier(1), classifier(2));
    let fusion = FusionConfig { local: 1, cross: 1 };
    let mut soft = SoftTeaching { alpha: 0.25, ..SoftTeaching::default() };
    soft.loss.temperature = 3.0;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("classes.safetensors");
    let plain = || FusedClassificationTask::new(&student, class_pairs(), fusion, &soft).unwrap();
    let taught_over = |over| {
        let mut soft = soft.clone();
        soft.loss.over = over;
        let task = FusedClassificationTask::new(&student, class_pairs(), fusion, &soft).unwrap();
        let (scores, _) = task.teacher_logits(&path, &teacher, 4).unwrap();
        task.with_teacher(scores).unwrap()
    };
    let taught = || taught_over(SoftmaxOver::Row);
    let batch = [0, 1, 2, 3, 4, 5];
    let (mut own, mut other, mut divergences) = (0.0, 0.0, 0.0);
    for ClassPair { target, source, class } in class_pairs() {
        let logits = |model: &Model| {
            let inputs = |ids: &[u32]| xlmr_model::Inputs::from_rows(&[ids], 1).unwrap();
            let (target, source) = (inputs(&target), inputs(&source));
            let (t, s) = model.encode_pair(&target, &source, &fusion, false).unwrap();
            [t, s].map(|hidden| {
                let logits = model.sequence_logits(&hidden, None, false).unwrap();
                Vec::<f32>::try_from(&logits.get(0)).unwrap()
            })
        };
        let entropy = |logits: &[f32]| {
            let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
            sum.ln() - f64::from(logits[class as usize])
        };
        let ([t, s], [of_teacher, _]) = (logits(&student), logits(&teacher));
        own += entropy(&t) / 6.0;
        other += entropy(&s) / 6.0;
        divergences += divergence(&t, &of_teacher, 3.0) / 6.0;
    }
    let first = losses(&mut plain(), &batch);
    assert!((part(&first, "target") - own).abs() < 1e-4);
    assert!((part(&first, "source") - other).abs() < 1e-4);
    assert!((first.total.double_value(&[]) - own - other).abs() < 1e-4);
    let second = losses(&mut taught(), &batch);
    assert!((part(&second, "soft") - divergences).abs() < 1e-3 * divergences.max(1.0));
    let total = other + 0.75 * own + 0.25 * divergences;
    assert!((second.total.double_value(&[]) - total).abs() < 1e-3);
    let parameters = student.named_parameters();
    assert_parts_are_the_whole(&parameters, plain, &batch);
    assert_parts_are_the_whole(&parameters, taught, &batch);
    // Also the mean over classes.
    let by_class = || taught_over(SoftmaxOver::RowPositions);
    assert_parts_are_the_whole(&parameters, by_class, &batch);

    let error = plain().teacher_logits(&path, &student, 4).unwrap_err().to_string();
    assert!(error.contains("the scores of another teacher"), "{error}");
    let mut beyond = class_pairs();
    beyond[0].class = 4;
    let mut beyond = FusedClassificationTask::new(&student, beyond, fusion, &soft).unwrap();
    let rng = trainer::rng_for(1, "step", 0);
    let mut step = Step { batch: &[0], number: 0, total: 1, micro_batch: None, rng };
    let error = beyond.losses(&mut step).err().unwrap().to_string();
    assert!(error.contains("below 4, the head's labels"), "{error}");
    let refused = |rows, fusion, soft: &SoftTeaching| {
        FusedClassificationTask::new(&student, rows, fusion, soft).err().unwrap().to_string()
    };
    assert!(refused(Vec::new(), fusion, &soft).contains("pairs to train on"));
    let deep = FusionConfig { local: 4, cross: 1 };
    assert!(refused(class_pairs(), deep, &soft).starts_with("local: "));
    let loud = SoftTeaching { alpha: -0.1, ..soft.clone() };
    assert!(refused(class_pairs(), fusion, &loud).starts_with("soft.alpha = -0.1"));
}

#[test]
fn classes_are_chosen_beside_a_translation_the_text_itself_or_nothing() {
    let model = classifier(3);
    let fusion = FusionConfig { local: 0, cross: 3 };
    let pairs = class_pairs();
    let rows: Vec<(&[u32], &[u32])> =
        pairs.iter().map(|pair| (pair.target.as_slice(), pair.source.as_slice())).collect();
    let texts: Vec<&[u32]> = rows.iter().map(|row| row.0).collect();
    let best = |rows: &[(&[u32], &[u32])], second, size| {
        best_fused_classes(&model, rows, &fusion, second, size).unwrap()
    };
    let plain = crate::sequence_classification::best_classes(&model, &texts, 32).unwrap();
    assert_eq!(best(&rows, PairedText::None, 2), plain);
    let own: Vec<(&[u32], &[u32])> = texts.iter().map(|&text| (text, text)).collect();
    assert_eq!(best(&rows, PairedText::Own, 3), best(&own, PairedText::Translation, 64));
    let (one, all) =
        (best(&rows, PairedText::Translation, 1), best(&rows, PairedText::Translation, 64));
    assert_eq!(one, all);
    assert!(best_fused_classes(&model, &rows, &fusion, PairedText::Own, 0).is_err());
}
