//! Tests of fused tasks: losses, pairs, stored scores and answers.
use mlqa_eval::{NBest, Purpose, Question, UnanswerableWindow, WindowConfig};
use objectives::SoftmaxOver;
use objectives::tch::no_grad;
use trainer::{StepLosses, Task};
use xlmr_model::{FusionConfig, Head, Model, encode_fused};

use super::*;
use crate::question_answering::{QaConfig, QaData, QaPredictor, QaTask, WindowBatch};
use crate::testing::{
    assert_bf16_is_near_f32, assert_micro_batches_match, cross_entropy, fingerprint_of,
    first_losses, model, model_with_head, question, tokenizer,
};

/// Three questions and their translations. The translation of the first context is longer than the
/// context; the translation of the last context is shorter.
fn questions() -> (Vec<Question>, Vec<Question>) {
    let pad = "The capital of Peru is a city . ";
    let german = [
        question("a", "Welche Sprache ?", "Die Sprache von Peru ist Spanisch .", "Spanisch"),
        question("b", "Welche Stadt ?", "Die Stadt heißt Lima .", "Lima"),
        question("c", "Welches Land ?", &format!("{}Das Land ist Ghana .", pad.repeat(6)), "Ghana"),
    ];
    let english = [
        question("a", "Which language ?", &format!("{}It is Spanish .", pad.repeat(5)), "Spanish"),
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
    FusedQaTask::new(model, &tokenizer(), &german, &english, windows, config).unwrap()
}

fn losses(task: &mut dyn Task, batch: &[usize]) -> StepLosses {
    first_losses(task, batch).unwrap()
}

fn part(losses: &StepLosses, name: &str) -> f64 {
    losses.parts.iter().find(|(part, _)| *part == name).unwrap().1.double_value(&[])
}

fn seeded_model(seed: u64) -> Model {
    let model_with_noise = model(4000);
    for (number, (_, mut parameter)) in (0..).zip(model_with_noise.named_parameters()) {
        let size = parameter.size();
        let noise = torch_ext::seeded_randn(&size, seed as i64 * 1000 + number).unwrap();
        no_grad(|| parameter += noise * 0.05);
    }
    model_with_noise
}

#[test]
fn windows_are_paired_by_index_or_all_with_all() {
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
    let (target_counts, source_counts) = (
        [0, 1, 2].map(|k| count(&by_number.target, k)),
        [0, 1, 2].map(|k| count(&by_number.source, k)),
    );
    assert!(
        target_counts[0] == 1
            && source_counts[0] > 1
            && target_counts[2] > 1
            && source_counts[2] == 1,
        "{target_counts:?} {source_counts:?}"
    );
    let mut expected = Vec::new();
    let (mut first, mut second) = (0, 0);
    for question in 0..3 {
        for k in 0..target_counts[question].max(source_counts[question]) {
            expected.push((
                first + k.min(target_counts[question] - 1),
                second + k.min(source_counts[question] - 1),
            ));
        }
        (first, second) = (first + target_counts[question], second + source_counts[question]);
    }
    assert_eq!(by_number.pairs, expected);
    for (target, source) in by_number.iter() {
        assert_eq!(target.question, source.question);
    }
    let all_pairs = pairs(WindowPairing::AllPairs);
    assert_eq!(
        all_pairs.pairs.len(),
        (0..3).map(|k| target_counts[k] * source_counts[k]).sum::<usize>()
    );
    // For the first question, only the last English window contains the answer, but the target
    // (German) half of every pair contains it. For the last question, the roles of German and
    // English are exchanged.
    let counts = by_number.counts();
    assert_eq!((counts.both, counts.pairs), (3, expected.len()));
    assert_eq!(counts.target_alone, source_counts[0] - 1);
    assert_eq!(counts.source_alone, target_counts[2] - 1);
    assert!(counts.to_string().contains("of the pairs with it in the target half"), "{counts}");
    // No window is skipped, even if `unanswerable_window` is `Drop`.
    let drop_config = WindowConfig { unanswerable_window: UnanswerableWindow::Drop, ..windows() };
    let (pairing, train) = (WindowPairing::ByNumber, Purpose::Train);
    let with_dropping =
        WindowPairs::new(&german, &english, &tokenizer(), &drop_config, pairing, train).unwrap();
    assert_eq!(
        (with_dropping.pairs, with_dropping.target.len()),
        (expected, by_number.target.len())
    );
    let error =
        WindowPairs::new(&german, &english[1..], &tokenizer(), &drop_config, pairing, train)
            .unwrap_err();
    assert_eq!(error.to_string(), "translations: expected 3, one for each question, got 2");
}

#[test]
fn halves_without_cross_layers_have_plain_losses() {
    let model = model(4000);
    let (tokenizer, windows) = (tokenizer(), windows());
    let (german, english) = questions();
    // The second question has one window per language. In a task with only this question, the two
    // windows are pair 0.
    let (german, english) = (&german[1..2], &english[1..2]);
    let mut fused =
        FusedQaTask::new(&model, &tokenizer, german, english, &windows, &config(0)).unwrap();
    let actual = losses(&mut fused, &[0]);
    let plain = |questions: &[Question]| {
        let data = QaData { questions, question_entity_spans: None, windows: &windows };
        let config = QaConfig { context_only: true, ..QaConfig::default() };
        let mut task = QaTask::new(&model, &tokenizer, &data, &config).unwrap();
        part(&losses(&mut task, &[0]), "span")
    };
    let (target, source) = (plain(german), plain(english));
    assert_eq!((part(&actual, "target"), part(&actual, "source")), (target, source));
    assert!((actual.total.double_value(&[]) - target - source).abs() < 1e-6);
    // If the texts attend to each other, the target's loss differs from its loss without the
    // translation.
    let mut fused =
        FusedQaTask::new(&model, &tokenizer, german, english, &windows, &config(1)).unwrap();
    assert_ne!(part(&losses(&mut fused, &[0]), "target"), target);
}

#[test]
fn loss_of_windows_without_the_answer_is_optional() {
    let model = model(4000);
    let mut cls_task = task(&model, &config(1), &windows());
    let drop_config = WindowConfig { unanswerable_window: UnanswerableWindow::Drop, ..windows() };
    let mut drop_task = task(&model, &config(1), &drop_config);
    assert_eq!(cls_task.counts(), drop_task.counts());
    // The first pair's source half lacks the answer, so only its target half has a loss.
    let (target, source) = drop_task.head.pairs.get(0);
    assert!(target.start_position > Some(0) && source.start_position == Some(0));
    let names = |losses: &StepLosses| losses.parts.iter().map(|part| part.0).collect::<Vec<_>>();
    assert_eq!(names(&losses(&mut drop_task, &[0])), ["target"]);
    assert_eq!(names(&losses(&mut cls_task, &[0])), ["source", "target"]);
    // The losses of a batch are means over the halves that have a label.
    let target_loss = part(&losses(&mut drop_task, &[0]), "target");
    let pair_b = drop_task.head.pairs.pairs.iter().position(|&(target, _)| target == 1).unwrap();
    let two_pairs = losses(&mut drop_task, &[0, pair_b]);
    let second_pair = losses(&mut drop_task, &[pair_b]);
    let mean = (target_loss + part(&second_pair, "target")) / 2.0;
    assert!((part(&two_pairs, "target") - mean).abs() < 1e-5);
    assert!((part(&two_pairs, "source") - part(&second_pair, "source")).abs() < 1e-5);
    assert_ne!(fingerprint_of(&cls_task), fingerprint_of(&drop_task));
}

/// T² times the KL divergence of a row, computed with loops.
fn divergence(student: &[f32], teacher: &[f32], t: f64) -> f64 {
    let softmax = |logits: &[f32]| -> Vec<f64> {
        let exponentials: Vec<f64> = logits.iter().map(|&x| (f64::from(x) / t).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        exponentials.iter().map(|exponential| exponential / sum).collect()
    };
    let (q, p) = (softmax(student), softmax(teacher));
    t * t * p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum::<f64>()
}

#[test]
fn phase_two_adds_the_divergence_from_the_teacher() {
    let (student, teacher) = (model(4000), seeded_model(3));
    let mut config = config(1);
    (config.soft.alpha, config.soft.loss.temperature) = (0.3, 2.0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.safetensors");
    for positions in [SoftPositions::Tokens, SoftPositions::Context] {
        config.soft.positions = positions;
        let task = task(&student, &config, &windows());
        let (scores, _) = task.teacher_logits(&path, &teacher, 2).unwrap();
        let batch: Vec<usize> = (0..task.head.pairs.pairs.len()).collect();
        let mut expected = 0.0;
        for &example in &batch {
            let (target, source) = task.head.pairs.get(example);
            let inputs = |window| WindowBatch::new(&[window], true, &student).unwrap().inputs;
            let logits = |model: &Model| {
                let (target, source) = (inputs(target), inputs(source));
                let (target_states, _) =
                    encode_fused(model, &target, &source, &config.fusion, false).unwrap();
                let (start, end) = model.span_logits(&target_states, false).unwrap();
                [start, end].map(|side| Vec::<f32>::try_from(&side.get(0)).unwrap())
            };
            let range = match positions {
                SoftPositions::Tokens => 0..target.input_ids.len(),
                SoftPositions::Context => target.context_start..target.context_end,
            };
            let (student_logits, teacher_span_logits) = (logits(&student), logits(&teacher));
            for side in 0..2 {
                let (student_logits, teacher_span_logits) = (
                    &student_logits[side][range.clone()],
                    &teacher_span_logits[side][range.clone()],
                );
                expected += divergence(student_logits, teacher_span_logits, 2.0) / 2.0;
                for (stored, actual) in
                    scores.row(side, example)[range.clone()].iter().zip(teacher_span_logits)
                {
                    assert!((stored - actual).abs() < 1e-4);
                }
            }
        }
        expected /= batch.len() as f64;
        let plain = losses(&mut self::task(&student, &config, &windows()), &batch);
        let mut task = task.with_teacher(scores).unwrap();
        let actual = losses(&mut task, &batch);
        let soft = part(&actual, "soft");
        assert!(soft > 1e-3 && (soft - expected).abs() < 1e-3 * expected, "{soft} {expected}");
        for name in ["source", "target"] {
            assert_eq!(part(&actual, name), part(&plain, name));
        }
        let total = part(&actual, "source") + 0.7 * part(&actual, "target") + 0.3 * soft;
        assert!((actual.total.double_value(&[]) - total).abs() < 1e-5);
    }
    // A teacher that equals the student has divergence 0.
    let task = task(&student, &config, &windows());
    let path = folder.path().join("itself.safetensors");
    let (scores, _) = task.teacher_logits(&path, &student, 64).unwrap();
    let mut task = task.with_teacher(scores).unwrap();
    assert!(part(&losses(&mut task, &[0, 1, 2]), "soft").abs() < 1e-6);
}

#[test]
fn scores_are_cached_by_teacher_examples_and_options() {
    let (student, teacher) = (model(4000), seeded_model(3));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.safetensors");
    let task = task(&student, &config(1), &windows());
    let (computed, was_read) = task.teacher_logits(&path, &teacher, 2).unwrap();
    assert!(!was_read);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(task.teacher_logits(&path, &teacher, 64).unwrap(), (computed.clone(), true));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "no other file is written");
    assert_eq!((computed.len(), computed.is_empty()), (task.head.pairs.pairs.len(), false));

    // Stored logits of another teacher, other examples or other layers are rejected.
    let all_pairs = FusedQaConfig { pairing: WindowPairing::AllPairs, ..config(1) };
    let (other_layers, other_pairs) = (
        self::task(&student, &config(0), &windows()),
        self::task(&student, &all_pairs, &windows()),
    );
    let longer_windows = WindowConfig { max_length: 60, ..windows() };
    let other_windows = self::task(&student, &config(1), &longer_windows);
    for (task, teacher) in
        [(&task, &student), (&other_layers, &teacher), (&other_windows, &teacher)]
    {
        let error = task.teacher_logits(&path, teacher, 2).unwrap_err().to_string();
        assert!(error.contains("teacher.safetensors: the scores of another teacher"), "{error}");
        assert!(error.contains("remove the file to compute them again"), "{error}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "a rejected file is not changed");
    let error = other_windows.with_teacher(computed.clone()).err().unwrap().to_string();
    assert!(error.starts_with("teacher's "), "{error}");
    assert_eq!(other_pairs.counts().both, 3);

    std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    let error = task.teacher_logits(&path, &teacher, 2).unwrap_err().to_string();
    assert!(error.contains("teacher.safetensors"), "{error}");

    // The mean of two teachers' scores.
    let (second, _) =
        task.teacher_logits(&folder.path().join("second.safetensors"), &student, 2).unwrap();
    let mean = TeacherLogits::mean(&[computed.clone(), second.clone()]).unwrap();
    for example in 0..mean.len() {
        let rows = [&mean, &computed, &second].map(|logits| logits.row(1, example));
        for ((mean, a), b) in rows[0].iter().zip(rows[1]).zip(rows[2]) {
            assert!((mean - (a + b) / 2.0).abs() < 1e-6);
        }
    }
    assert!(TeacherLogits::mean(&[]).is_err());
    let short_logits = TeacherLogits::from_rows(&[vec![vec![1.0], vec![2.0]]], 2).unwrap();
    let error = TeacherLogits::mean(&[computed, short_logits]).unwrap_err().to_string();
    assert!(error.starts_with("logits of teacher 2: "), "{error}");
}

#[test]
fn micro_batches_match_and_bf16_is_close() {
    let (student, teacher) = (seeded_model(5), seeded_model(3));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.safetensors");
    let drop_config = WindowConfig { unanswerable_window: UnanswerableWindow::Drop, ..windows() };
    let mut config = config(1);
    config.soft.loss.temperature = 1.0;
    let batch = [0, 1, 2, 3, 4, 5];
    let parameters = student.named_parameters();
    let new_task = || {
        let task = task(&student, &config, &drop_config);
        let (scores, _) = task.teacher_logits(&path, &teacher, 8).unwrap();
        task.with_teacher(scores).unwrap()
    };
    assert!(new_task().head.pairs.pairs.len() >= batch.len());
    assert_micro_batches_match(&parameters, || task(&student, &config, &drop_config), &batch);
    assert_micro_batches_match(&parameters, new_task, &batch);
    assert_bf16_is_near_f32(&parameters, new_task, &batch);
    // A loss with a softmax over the batch cannot be split into micro-batches. A mean over
    // positions cannot be split either if rows have different lengths.
    for over in [SoftmaxOver::Batch, SoftmaxOver::RowPositions] {
        let mut config = config.clone();
        config.soft.loss.over = over;
        let task = task(&student, &config, &drop_config);
        assert!(task.supports_micro_batches());
        let (scores, _) = task.teacher_logits(&path, &teacher, 8).unwrap();
        assert!(!task.with_teacher(scores).unwrap().supports_micro_batches());
    }
}

/// Returns the scores of predicted answers by question.
fn scores_of(predictions: crate::Result<Vec<NBest>>) -> Vec<(String, Vec<f32>)> {
    let scores = |n_best: &NBest| n_best.candidates.iter().map(|n_best| n_best.score).collect();
    let predictions = predictions.unwrap();
    predictions.iter().map(|n_best| (n_best.id.clone(), scores(n_best))).collect()
}

fn max_score_difference(a: &[(String, Vec<f32>)], b: &[(String, Vec<f32>)]) -> f32 {
    assert_eq!(a.len(), b.len());
    let mut max_difference: f32 = 0.0;
    for ((id, scores), (other_id, other_scores)) in a.iter().zip(b) {
        assert_eq!(id, other_id);
        for (x, y) in scores.iter().zip(other_scores) {
            max_difference = max_difference.max((x - y).abs());
        }
    }
    max_difference
}

#[test]
fn the_second_text_is_the_translation_the_same_text_or_none() {
    let (model, tokenizer) = (seeded_model(4), tokenizer());
    let (german, english) = questions();
    let translations = questions_by_id(english.clone());
    let plain = QaPredictor::new(&model, &tokenizer, &windows());
    let with_batch_size = |size, text, cross, pairing| {
        let fusion = FusionConfig { local: 1, cross };
        let second = SecondTextConfig { fusion, pairing, text, translations: &translations };
        FusedPredictor::new(plain.clone().with_batch_size(size), second)
    };
    let reader_with = |text, cross, pairing| with_batch_size(64, text, cross, pairing);
    let answers = |text, cross, pairing, questions: &[Question]| {
        scores_of(reader_with(text, cross, pairing).predict(questions))
    };
    let (translation, same_text, no_text) =
        (PairedText::Translation, PairedText::SameText, PairedText::None);
    let by_number = WindowPairing::ByNumber;
    let expected = scores_of(plain.predict(&german));
    assert_eq!(answers(no_text, 1, by_number, &german), expected);
    // Without cross-attention, every pair that contains a window gives the same answers for this
    // window.
    for pairing in [by_number, WindowPairing::AllPairs] {
        let separate = answers(translation, 0, pairing, &german);
        assert!(max_score_difference(&separate, &expected) < 1e-4);
    }
    let with_translation = answers(translation, 1, by_number, &german);
    let with_same_text = answers(same_text, 1, by_number, &german);
    assert!(max_score_difference(&with_translation, &expected) > 1e-3);
    // Attention over duplicated keys equals attention over the original keys.
    assert!(max_score_difference(&with_same_text, &expected) < 1e-4);
    // If each translation equals its text, `Translation` and `SameText` give the same answers.
    let english_with_same_text = answers(same_text, 1, by_number, &english);
    assert_eq!(answers(translation, 1, by_number, &english), english_with_same_text);
    // Batch size and order do not change the answers.
    for size in [1, 2] {
        let batched = with_batch_size(size, translation, 1, by_number).predict(&german);
        assert!(max_score_difference(&scores_of(batched), &with_translation) < 1e-4);
    }
    let mut reversed = german.clone();
    reversed.reverse();
    let mut reversed_answers = answers(translation, 1, by_number, &reversed);
    reversed_answers.reverse();
    assert!(max_score_difference(&reversed_answers, &with_translation) < 1e-4);
    let unknown = [question("z", "Welche ?", "Das rote Haus .", "rote")];
    let error = reader_with(translation, 1, by_number).predict(&unknown).unwrap_err().to_string();
    assert!(error.starts_with("translation of question z: expected"), "{error}");
    assert!(reader_with(same_text, 1, by_number).predict(&unknown).is_ok());
}

#[test]
fn answers_are_projected_from_the_translation() {
    let (model, tokenizer) = (seeded_model(4), tokenizer());
    let (german, english) = questions();
    let reader = QaPredictor::new(&model, &tokenizer, &windows());
    let config = crate::alignment::AlignmentConfig::default();
    let specials = crate::testing::specials();
    let aligner =
        crate::alignment::AnswerAligner::new(&model, &tokenizer, specials, config).unwrap();
    // If the translation is the text itself, projection returns the reader's answers.
    let same_text =
        answer_by_projection(&reader, &aligner, &german, &questions_by_id(german.clone())).unwrap();
    for answer in reader.predict(&german).unwrap() {
        assert_eq!(same_text.0[&answer.id], answer.answer());
    }
    let projected =
        answer_by_projection(&reader, &aligner, &german, &questions_by_id(english)).unwrap();
    assert_eq!(projected.0.len(), 3);
    for question in &german {
        assert!(question.context.contains(&projected.0[&question.id]));
    }
    let error = answer_by_projection(&reader, &aligner, &german, &questions_by_id([])).unwrap_err();
    assert!(error.to_string().starts_with("translation of question a"), "{error}");
}

fn classifier(seed: u64) -> Model {
    model_with_head(Head::SequenceClassification { labels: 4 }, 0.1, seed)
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
    let task_with_softmax = |over| {
        let mut soft = soft.clone();
        soft.loss.over = over;
        let task = FusedClassificationTask::new(&student, class_pairs(), fusion, &soft).unwrap();
        let (scores, _) = task.teacher_logits(&path, &teacher, 4).unwrap();
        task.with_teacher(scores).unwrap()
    };
    let new_task = || task_with_softmax(SoftmaxOver::Row);
    let batch = [0, 1, 2, 3, 4, 5];
    let (mut target_loss, mut source_loss, mut divergences) = (0.0, 0.0, 0.0);
    for ClassPair { target, source, class } in class_pairs() {
        let logits = |model: &Model| {
            let inputs = |ids: &[u32]| xlmr_model::Inputs::from_rows(&[ids], 1).unwrap();
            let (target, source) = (inputs(&target), inputs(&source));
            let (target_logits, source_logits) =
                encode_fused(model, &target, &source, &fusion, false).unwrap();
            [target_logits, source_logits].map(|hidden| {
                let logits = model.sequence_logits(&hidden, None, false).unwrap();
                Vec::<f32>::try_from(&logits.get(0)).unwrap()
            })
        };
        let row_loss = |logits: &[f32]| {
            let logits: Vec<f64> = logits.iter().copied().map(f64::from).collect();
            cross_entropy(&logits, class)
        };
        let ([target_logits, source_logits], [teacher_logits, _]) =
            (logits(&student), logits(&teacher));
        target_loss += row_loss(&target_logits) / 6.0;
        source_loss += row_loss(&source_logits) / 6.0;
        divergences += divergence(&target_logits, &teacher_logits, 3.0) / 6.0;
    }
    let phase_one = losses(&mut plain(), &batch);
    assert!((part(&phase_one, "target") - target_loss).abs() < 1e-4);
    assert!((part(&phase_one, "source") - source_loss).abs() < 1e-4);
    assert!((phase_one.total.double_value(&[]) - target_loss - source_loss).abs() < 1e-4);
    let phase_two = losses(&mut new_task(), &batch);
    assert!((part(&phase_two, "soft") - divergences).abs() < 1e-3 * divergences.max(1.0));
    let total = source_loss + 0.75 * target_loss + 0.25 * divergences;
    assert!((phase_two.total.double_value(&[]) - total).abs() < 1e-3);
    let parameters = student.named_parameters();
    assert_micro_batches_match(&parameters, plain, &batch);
    assert_micro_batches_match(&parameters, new_task, &batch);
    // With the mean over classes, micro-batches also give the loss of the complete batch.
    let row_positions = || task_with_softmax(SoftmaxOver::RowPositions);
    assert_micro_batches_match(&parameters, row_positions, &batch);

    let error = plain().teacher_logits(&path, &student, 4).unwrap_err().to_string();
    assert!(error.contains("the scores of another teacher"), "{error}");
    let mut invalid_class = class_pairs();
    invalid_class[0].class = 4;
    let mut invalid_class =
        FusedClassificationTask::new(&student, invalid_class, fusion, &soft).unwrap();
    let error = first_losses(&mut invalid_class, &[0]).err().unwrap().to_string();
    assert!(error.contains("below 4, the number of labels"), "{error}");
    let error_of = |rows, fusion, soft: &SoftTeaching| {
        FusedClassificationTask::new(&student, rows, fusion, soft).err().unwrap().to_string()
    };
    assert!(error_of(Vec::new(), fusion, &soft).contains("pairs to train on"));
    let too_many_layers = FusionConfig { local: 4, cross: 1 };
    assert!(error_of(class_pairs(), too_many_layers, &soft).starts_with("local: "));
    let negative_alpha = SoftTeaching { alpha: -0.1, ..soft.clone() };
    assert!(error_of(class_pairs(), fusion, &negative_alpha).starts_with("soft.alpha = -0.1"));
}

#[test]
fn classes_use_the_translation_the_same_text_or_none() {
    let model = classifier(3);
    let fusion = FusionConfig { local: 0, cross: 3 };
    let pairs = class_pairs();
    let rows: Vec<(&[u32], &[u32])> =
        pairs.iter().map(|pair| (pair.target.as_slice(), pair.source.as_slice())).collect();
    let texts: Vec<&[u32]> = rows.iter().map(|row| row.0).collect();
    let classes = |rows: &[(&[u32], &[u32])], second, size| {
        best_fused_classes(&model, rows, &fusion, second, size).unwrap()
    };
    let plain = crate::sequence_classification::best_classes(&model, &texts, 32).unwrap();
    assert_eq!(classes(&rows, PairedText::None, 2), plain);
    let same_text_rows: Vec<(&[u32], &[u32])> = texts.iter().map(|&text| (text, text)).collect();
    assert_eq!(
        classes(&rows, PairedText::SameText, 3),
        classes(&same_text_rows, PairedText::Translation, 64)
    );
    let (single_rows, one_batch) =
        (classes(&rows, PairedText::Translation, 1), classes(&rows, PairedText::Translation, 64));
    assert_eq!(single_rows, one_batch);
    assert!(best_fused_classes(&model, &rows, &fusion, PairedText::SameText, 0).is_err());
}
