//! Writes Parquet files with the columns of SQuAD on the Hugging Face Hub.
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use mlqa_eval::Question;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

pub type Group<'a> = SerializedRowGroupWriter<'a, File>;

/// Writes a column: its values with their definition and repetition levels.
pub fn add_column<T: DataType>(group: &mut Group<'_>, values: &[T::T], levels: &[(i16, i16)]) {
    let mut column = group.next_column().unwrap().unwrap();
    let (definition, repetition): (Vec<_>, Vec<_>) = levels.iter().copied().unzip();
    let writer = column.typed::<T>();
    writer.write_batch(values, Some(&definition), Some(&repetition)).unwrap();
    column.close().unwrap();
}

pub fn add_texts<'a>(group: &mut Group<'_>, values: impl Iterator<Item = &'a str>) {
    let values: Vec<ByteArray> = values.map(ByteArray::from).collect();
    add_column::<ByteArrayType>(group, &values, &vec![(1, 0); values.len()]);
}

/// Writes questions in row groups of `group_size` rows. `number` is the Parquet type of `answer_start`:
/// `int32` or `int64`.
pub fn write(path: &Path, questions: &[Question], number: &str, group_size: usize) {
    let text = |name: &str| format!("optional binary {name} (UTF8);");
    let list = |name: &str, of: &str| {
        format!("optional group {name} (LIST) {{ repeated group list {{ optional {of}; }} }}")
    };
    let schema = format!(
        "message schema {{ {} optional group answers {{ {} {} }} }}",
        ["id", "title", "context", "question"].map(text).concat(),
        list("text", "binary element (UTF8)"),
        list("answer_start", &format!("{number} element")),
    );
    let mut writer = writer(path, &schema);
    for questions in questions.chunks(group_size) {
        let mut group = writer.next_row_group().unwrap();
        add_texts(&mut group, questions.iter().map(|question| question.id.as_str()));
        add_texts(&mut group, questions.iter().map(|question| &*question.title));
        add_texts(&mut group, questions.iter().map(|question| &*question.context));
        add_texts(&mut group, questions.iter().map(|question| question.question.as_str()));
        let levels = |question: &Question| match question.answers.len() {
            0 => vec![(2, 0)],
            count => (0..count).map(|k| (4, i16::from(k > 0))).collect(),
        };
        let levels: Vec<_> = questions.iter().flat_map(levels).collect();
        let answers = || questions.iter().flat_map(|question| &question.answers);
        let answer_texts: Vec<_> =
            answers().map(|answer| ByteArray::from(answer.text.as_str())).collect();
        add_column::<ByteArrayType>(&mut group, &answer_texts, &levels);
        let starts =
            || answers().map(|answer| i32::try_from(answer.answer_start.unwrap()).unwrap());
        match number {
            "int32" => add_column::<Int32Type>(&mut group, &starts().collect::<Vec<_>>(), &levels),
            _ => {
                let starts: Vec<i64> = starts().map(i64::from).collect();
                add_column::<Int64Type>(&mut group, &starts, &levels);
            }
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

pub fn writer(path: &Path, schema: &str) -> SerializedFileWriter<File> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let properties = Arc::new(WriterProperties::builder().set_compression(zstd).build());
    SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap()
}
