//! Tests of Parquet shards: examples, positions, and errors for damaged or unsupported files.
#![cfg(feature = "parquet")]
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FixedLenByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde::Deserialize;
use shards::{ExampleSource, ShardedJsonl, Shards, ShuffleConfig, rng_for};

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Row {
    text: String,
    input_ids: Vec<u32>,
    title: Option<String>,
}

/// Returns row `number`. `input_ids` has `number % 4` items, and every third row has no title.
fn row(number: usize) -> Row {
    Row {
        text: format!("Größe {number}\n\"数\""),
        input_ids: (0..number % 4).map(|k| u32::try_from(number + k).unwrap()).collect(),
        title: (!number.is_multiple_of(3)).then(|| format!("title {number}")),
    }
}

/// Writes the rows `numbers`, with `group_size` rows per row group.
fn write_rows(path: &Path, numbers: std::ops::Range<usize>, group_size: usize) {
    let schema = "message rows {
        required binary text (UTF8);
        required group input_ids (LIST) { repeated group list { required int64 element; } }
        optional binary title (UTF8);
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let properties = Arc::new(WriterProperties::builder().set_compression(zstd).build());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
    let rows: Vec<Row> = numbers.map(row).collect();
    for rows in rows.chunks(group_size) {
        let mut row_group = writer.next_row_group().unwrap();
        let text: Vec<ByteArray> = rows.iter().map(|row| row.text.as_str().into()).collect();
        let mut column = row_group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&text, None, None).unwrap();
        column.close().unwrap();

        let (mut ids, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            if row.input_ids.is_empty() {
                definition.push(0);
                repetition.push(0);
            }
            for (k, id) in row.input_ids.iter().enumerate() {
                ids.push(i64::from(*id));
                definition.push(1);
                repetition.push(i16::from(k > 0));
            }
        }
        let mut column = row_group.next_column().unwrap().unwrap();
        let typed_column = column.typed::<Int64Type>();
        typed_column.write_batch(&ids, Some(&definition), Some(&repetition)).unwrap();
        column.close().unwrap();

        let titles = rows.iter().filter_map(|row| row.title.as_deref().map(ByteArray::from));
        let titles: Vec<ByteArray> = titles.collect();
        let definition: Vec<i16> = rows.iter().map(|row| i16::from(row.title.is_some())).collect();
        let mut column = row_group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&titles, Some(&definition), None).unwrap();
        column.close().unwrap();
        row_group.close().unwrap();
    }
    writer.close().unwrap();
}

fn source(folder: &Path, config: &ShuffleConfig) -> ShardedJsonl<Row> {
    ShardedJsonl::new(Shards::open([folder]).unwrap(), config.clone()).unwrap()
}

fn remaining_rows(source: &mut impl ExampleSource<Example = Row>) -> Vec<Row> {
    std::iter::from_fn(|| source.next_example().unwrap()).collect()
}

#[test]
fn rows_equal_json_lines_and_every_position_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(&folder.path().join("a.parquet"), 0..25, 10);
    write_rows(&folder.path().join("b.parquet"), 25..31, 100);
    let line = |number| {
        let Row { text, input_ids, title } = row(number);
        let line = serde_json::json!({"text": text, "input_ids": input_ids, "title": title});
        format!("{line}\n")
    };
    let lines: String = (31..40).map(line).collect();
    std::fs::write(folder.path().join("c.jsonl"), lines).unwrap();

    let config = ShuffleConfig { lines: 8, open_shards: 2, ..ShuffleConfig::default() };
    let mut rows = source(folder.path(), &config);
    assert_eq!(rows.example_count(), Some(40));
    rows.start_epoch(0, rng_for(3, "order", 0)).unwrap();
    let mut positions = Vec::new();
    let mut examples = Vec::new();
    loop {
        positions.push(rows.position());
        let Some(example) = rows.next_example().unwrap() else { break };
        examples.push(example);
    }
    let mut sorted = examples.clone();
    let number = |row: &Row| row.text.split([' ', '\n']).nth(1).unwrap().parse::<usize>().unwrap();
    sorted.sort_by_key(number);
    assert_eq!(sorted, (0..40).map(row).collect::<Vec<_>>());
    assert_ne!(examples, sorted, "shuffled");

    let mut resumed = source(folder.path(), &config);
    for (returned, position) in positions.into_iter().enumerate() {
        resumed.start_epoch(0, rng_for(3, "order", 0)).unwrap();
        resumed.seek(position).unwrap();
        assert_eq!(remaining_rows(&mut resumed), examples[returned..], "after {returned}");
    }
}

#[test]
fn a_missing_field_is_reported_with_file_and_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write_rows(&path, 0..3, 2);
    #[derive(Debug, Deserialize)]
    struct Url {
        #[serde(rename = "url")]
        _url: String,
    }
    let error = Shards::open_with([&path], |line| line.parse::<Url>().map(|_| ())).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("a.parquet: row 1, ") && error.contains("missing field `url`"),
        "{error}"
    );
}

#[test]
fn errors_for_damaged_files_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write_rows(&path, 0..400, 100);
    let valid_bytes = std::fs::read(&path).unwrap();
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Shards::open([&path]).map(|_| ()).map_err(|error| error.to_string())
    };
    let error = open(&valid_bytes[..valid_bytes.len() / 2]).unwrap_err();
    assert!(error.contains("a.parquet"), "{error}");
    let error = open(b"{\"text\": \"\"}\n").unwrap_err();
    assert!(error.contains("a.parquet"), "{error}");
    // A changed byte causes an error or different rows, but no panic.
    let mut n_errors = 0;
    for offset in (0..valid_bytes.len()).step_by(61) {
        let mut damaged = valid_bytes.clone();
        damaged[offset] ^= 0x5a;
        n_errors += usize::from(open(&damaged).is_err());
    }
    assert!(n_errors > 0);
}

#[test]
fn a_changed_file_is_rejected_when_a_run_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write_rows(&path, 0..20, 5);
    let config = ShuffleConfig { lines: 4, ..ShuffleConfig::default() };
    let mut rows = source(folder.path(), &config);
    rows.start_epoch(0, rng_for(1, "order", 0)).unwrap();
    rows.next_example().unwrap();
    let position = rows.position();
    write_rows(&path, 1..21, 5);
    rows.start_epoch(0, rng_for(1, "order", 0)).unwrap();
    let error = rows.seek(position).unwrap_err().to_string();
    assert!(error.contains("a.parquet: the file changed"), "{error}");
}

#[test]
fn a_column_type_that_json_cannot_represent_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let interval = ByteArray::from(vec![0; 12]).into();
    let column = "required fixed_len_byte_array(12) since (INTERVAL);";
    write_column::<FixedLenByteArrayType>(&path, column, &[interval]);
    let error = Shards::open([&path]).unwrap_err().to_string();
    assert!(
        error.contains("a.parquet: after row 0: the file is damaged, or a column has"),
        "{error}"
    );
}

#[test]
fn a_binary_column_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write_column::<ByteArrayType>(&path, "required binary text;", &["a".into()]);
    let mut lines = Vec::new();
    let add = |line: shards::ShardLine<'_>| {
        lines.push(String::from_utf8(line.text.to_vec()).unwrap());
        Ok(())
    };
    Shards::open_with([&path], add).unwrap();
    assert_eq!(lines, ["{}"]);
}

const TEXT_COLUMN: &str = "required binary text (UTF8);";

/// Writes a Parquet file with one compressed column, which the schema text `column` declares.
fn write_column<T: DataType>(path: &Path, column: &str, values: &[T::T]) {
    let schema = Arc::new(parse_message_type(&format!("message m {{ {column} }}")).unwrap());
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(zstd);
    let properties = Arc::new(properties.set_dictionary_enabled(false).build());
    let mut writer =
        SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    let mut row_group = writer.next_row_group().unwrap();
    let mut column = row_group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(values, None, None).unwrap();
    column.close().unwrap();
    row_group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn a_small_file_of_huge_values_is_rejected_before_decompression() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let text = |bytes: usize| ByteArray::from(vec![b'a'; bytes]);
    let too_long = vec![text((1 << 26) + 1)];
    let too_compressed = [vec![text(1 << 26)], vec![text(1); 99]].concat();
    for texts in [too_long, too_compressed] {
        write_column::<ByteArrayType>(&path, TEXT_COLUMN, &texts);
        assert!(std::fs::metadata(&path).unwrap().len() < 100_000);
        let error = Shards::open([&path]).unwrap_err().to_string();
        assert!(
            error.contains("a.parquet: after row 0: ") && error.contains("column text: "),
            "{error}"
        );
        assert!(error.contains(&format!("for {} values", texts.len())), "{error}");
    }
    write_column::<ByteArrayType>(&path, TEXT_COLUMN, &[text(1 << 20)]);
    Shards::open([&path]).unwrap();
}
