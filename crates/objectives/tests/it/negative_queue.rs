//! Tests of `NegativeQueue`: order of rows for any sequence of pushes, saving and loading.
use crate::common::*;
use objectives::{Error, NegativeQueue, QueueConfig, QueueStart};

fn queue(size: i64, start: QueueStart) -> NegativeQueue {
    NegativeQueue::new(2, FLOAT, &QueueConfig { size, start, seed: 7 }).unwrap()
}

/// A key `[k, -k]` for each number k.
fn rows(numbers: &[i64]) -> Tensor {
    let values: Vec<f32> = numbers.iter().flat_map(|&k| [k as f32, -k as f32]).collect();
    Tensor::from_slice(&values).view([numbers.len() as i64, 2])
}

fn key_numbers(queue: &NegativeQueue) -> Vec<i64> {
    let keys = queue.keys().unwrap();
    assert_eq!(keys.select(1, 0), -keys.select(1, 1), "the columns of a row must belong together");
    keys.select(1, 0).to_kind(Kind::Int64).try_into().unwrap()
}

fn queue_ids(queue: &NegativeQueue) -> Vec<i64> {
    queue.ids().unwrap().try_into().unwrap()
}

#[test]
fn the_newest_rows_are_stored_in_order() {
    let mut queue = queue(6, QueueStart::Empty);
    queue.push(&rows(&[1, 2, 3]), None).unwrap();
    assert_eq!((queue.len(), key_numbers(&queue)), (3, vec![1, 2, 3]));
    queue.push(&rows(&[4, 5, 6, 7]), Some(&ids(&[40, 50, 60, 70]))).unwrap();
    queue.push(&rows(&[8, 9]), None).unwrap();
    assert_eq!(key_numbers(&queue), [4, 5, 6, 7, 8, 9]);
    assert_eq!(queue_ids(&queue), [40, 50, 60, 70, -1, -1]);
    queue.push(&rows(&[]), None).unwrap();
    assert_eq!(key_numbers(&queue), [4, 5, 6, 7, 8, 9]);
    // If more rows are pushed than fit, the last rows are stored.
    queue.push(&rows(&[10, 11, 12, 13, 14, 15, 16, 17]), None).unwrap();
    assert_eq!(key_numbers(&queue), [12, 13, 14, 15, 16, 17]);
}

#[test]
fn non_finite_keys_do_not_replace_rows() {
    let mut queue = queue(3, QueueStart::Empty);
    queue.push(&rows(&[1, 2, 3]), Some(&ids(&[10, 20, 30]))).unwrap();
    let mut keys = rows(&[4, 5, 6]);
    let _ = keys.get(1).get(0).fill_(f64::NAN);
    let _ = keys.get(2).fill_(f64::INFINITY);
    queue.push(&keys, Some(&ids(&[40, 50, 60]))).unwrap();
    assert_eq!((key_numbers(&queue), queue_ids(&queue)), (vec![4, 2, 3], vec![40, 20, 30]));
    // A queue that is not full skips keys that are not finite.
    let mut queue = self::queue(3, QueueStart::Empty);
    queue.push(&keys, Some(&ids(&[40, 50, 60]))).unwrap();
    queue.push(&rows(&[7]), None).unwrap();
    assert_eq!((key_numbers(&queue), queue_ids(&queue)), (vec![4, 7], vec![40, -1]));
    // float32 can represent 100,000, but the queue's dtype float16 cannot.
    let mut queue = NegativeQueue::new(
        2,
        (Kind::Half, Device::Cpu),
        &QueueConfig { size: 2, start: QueueStart::Empty, seed: 7 },
    )
    .unwrap();
    keys = rows(&[7, 100_000]);
    queue.push(&keys, None).unwrap();
    assert_eq!(key_numbers(&queue), [7]);
}

#[test]
fn pushed_keys_are_detached() {
    let mut queue = queue(4, QueueStart::Random);
    let keys = rows(&[1, 2]).set_requires_grad(true);
    queue.push(&(&keys * 3.0), None).unwrap();
    assert!(!queue.keys().unwrap().requires_grad());
    assert_eq!(queue.keys().unwrap().narrow(0, 2, 2), rows(&[3, 6]));
}

#[test]
fn random_keys_have_norm_one_and_depend_only_on_the_seed() {
    let config = QueueConfig { size: 500, ..Default::default() };
    let random_keys =
        |config: &QueueConfig| NegativeQueue::new(768, FLOAT, config).unwrap().keys().unwrap();
    let keys = random_keys(&config);
    let norm = keys.norm_scalaropt_dim(2.0, [1i64], false).mean(Kind::Double).double_value(&[]);
    assert!((norm - 1.0).abs() < 0.05, "{norm}");
    let _ = Tensor::randn([3], FLOAT);
    assert_eq!(random_keys(&config), keys);
    assert_ne!(random_keys(&QueueConfig { seed: 43, ..config }), keys);
}

#[test]
fn a_saved_queue_resumes_at_its_position() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.safetensors");
    let mut first = queue(5, QueueStart::Empty);
    first.push(&rows(&[1, 2, 3, 4, 5, 6]), Some(&ids(&[1, 2, 3, 4, 5, 6]))).unwrap();
    first.push(&rows(&[7]), None).unwrap();
    first.save(&path).unwrap();
    let mut restored = queue(5, QueueStart::Random);
    restored.load(&path).unwrap();
    for queue in [&mut first, &mut restored] {
        queue.push(&rows(&[8, 9]), None).unwrap();
        assert_eq!(key_numbers(queue), [5, 6, 7, 8, 9]);
        assert_eq!(queue_ids(queue), [5, 6, -1, -1, -1]);
    }
    // A file of a queue with another size is rejected, and the queue does not change.
    let mut smaller_queue = queue(4, QueueStart::Empty);
    smaller_queue.push(&rows(&[1]), None).unwrap();
    let error = smaller_queue.load(&path).unwrap_err().to_string();
    assert_eq!(error, "keys: expected shape [Q, D] = [4, 2], got [5, 2]");
    assert_eq!(key_numbers(&smaller_queue), [1]);
    // The error of a truncated file names the file.
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let error = restored.load(&path).unwrap_err().to_string();
    assert!(error.contains("queue.safetensors"), "{error}");
    assert_eq!(key_numbers(&restored), [5, 6, 7, 8, 9]);
}

#[test]
fn invalid_states_are_rejected() {
    let mut queue = queue(3, QueueStart::Random);
    let state = |cursor: &[i64]| {
        [("keys", rows(&[1, 2, 3])), ("ids", ids(&[1, 2, 3])), ("cursor", ids(cursor))]
    };
    for cursor in [[3, 3], [-1, 3], [0, 4], [0, -1]] {
        let state = state(&cursor);
        let find = |name| state.iter().find(|(key, _)| *key == name).map(|(_, tensor)| tensor);
        assert!(matches!(queue.restore(find), Err(Error::Range { tensor: "cursor", .. })));
    }
    let state = state(&[1, 2]);
    let find = |name| state.iter().find(|(key, _)| *key == name).map(|(_, tensor)| tensor);
    let find_without_ids = |name| if name == "ids" { None } else { find(name) };
    assert!(matches!(queue.restore(find_without_ids), Err(Error::Missing { argument: "ids", .. })));
    queue.restore(find).unwrap();
    assert_eq!(key_numbers(&queue), [3, 1]);
}

#[test]
fn invalid_keys_are_reported_and_change_nothing() {
    let mut queue = queue(3, QueueStart::Empty);
    queue.push(&rows(&[1]), None).unwrap();
    let mut error_of =
        |keys: &Tensor, ids: Option<&Tensor>| queue.push(keys, ids).unwrap_err().to_string();
    let wide_key = Tensor::zeros([1, 3], FLOAT);
    assert_eq!(error_of(&wide_key, None), "keys: expected shape [n, D] = [1, 2], got [1, 3]");
    assert!(error_of(&rows(&[1]).view([2]), None).starts_with("keys: expected shape [n, D]"));
    assert!(error_of(&rows(&[1]), Some(&ids(&[1, 2]))).starts_with("ids: expected"));
    assert!(error_of(&rows(&[1]).to_kind(Kind::Int64), None).contains("got Int64"));
    assert_eq!(key_numbers(&queue), [1]);
    for (size, width) in [(0, 2), (2, 0)] {
        let config = QueueConfig { size, ..Default::default() };
        assert!(matches!(NegativeQueue::new(width, FLOAT, &config), Err(Error::Domain { .. })));
    }
    assert_eq!(toml::from_str::<QueueConfig>("").unwrap(), QueueConfig::default());
    assert!(toml::from_str::<QueueConfig>("length = 3").is_err());
}

proptest! {
    #![proptest_config(with_cases(64))]

    #[test]
    fn equals_a_list_without_its_oldest_elements(
        size in 1i64..7,
        pushes in prop::collection::vec(0usize..10, 0..12),
    ) {
        let mut queue = queue(size, QueueStart::Empty);
        let mut list = Vec::new();
        for count in pushes {
            let first = list.len() as i64;
            let new: Vec<i64> = (first..first + count as i64).collect();
            queue.push(&rows(&new), Some(&ids(&new))).unwrap();
            list.extend(new);
            let expected = &list[list.len().saturating_sub(size as usize)..];
            prop_assert_eq!(key_numbers(&queue), expected);
            prop_assert_eq!(queue_ids(&queue), expected);
        }
    }
}
