//! Summary of a profile: time by operator, kernel and call, on the host and on a GPU.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;

use crate::{Error, Result};

/// Maximum number of rows in a table.
const MAX_ROWS: usize = 25;
/// Maximum number of characters of a name in a table.
const MAX_NAME_CHARS: usize = 100;
/// Minimum length in microseconds of a gap between GPU events that counts as idle time. Even
/// without idle time, consecutive kernels are a few microseconds apart.
const MIN_GAP: f64 = 5.0;

/// Total time of events with the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTime {
    /// The operator, kernel or call.
    pub name: String,
    /// Number of events.
    pub count: u64,
    /// Total milliseconds.
    pub milliseconds: f64,
}

/// Times of a profile's events; every list is sorted by descending time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceSummary {
    /// Time from the start of the first event to the end of the last event.
    pub milliseconds: f64,
    /// Time during which a GPU was busy; absent without GPU events.
    pub gpu_milliseconds: Option<f64>,
    /// Kernels and copies on a GPU.
    pub kernels: Vec<NamedTime>,
    /// Idle times of the GPU, each named after the innermost host event that runs at the middle of
    /// the idle time.
    pub gaps: Vec<NamedTime>,
    /// Host calls that wait for a GPU.
    pub waits: Vec<NamedTime>,
    /// Exclusive time of operators, CUDA calls and named regions on the host.
    pub operators: Vec<NamedTime>,
}

/// An event of the Chrome trace format; times in microseconds.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    ph: String,
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    pid: serde_json::Value,
    #[serde(default)]
    tid: serde_json::Value,
    #[serde(default)]
    ts: f64,
    #[serde(default)]
    dur: f64,
}

impl Event {
    fn end(&self) -> f64 {
        self.ts + self.dur
    }

    fn on_gpu(&self) -> bool {
        matches!(self.cat.as_str(), "kernel" | "gpu_memcpy" | "gpu_memset")
    }

    fn on_host(&self) -> bool {
        matches!(self.cat.as_str(), "cpu_op" | "cuda_runtime" | "cuda_driver" | "user_annotation")
    }

    /// Whether this is a CUDA call that waits for the GPU.
    fn waits_for_gpu(&self) -> bool {
        self.cat.starts_with("cuda_")
            && (self.name.contains("Synchronize") || self.name == "cudaMemcpy")
    }
}

#[derive(Deserialize)]
struct Trace {
    #[serde(rename = "traceEvents")]
    events: Vec<Event>,
}

impl TraceSummary {
    /// Reads a file written by [`Profile::finish`](crate::Profile::finish).
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Damaged`] naming the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
        let trace: Trace = serde_json::from_slice(&text).map_err(|error| Error::Damaged {
            path: path.to_path_buf(),
            reason: format!("invalid trace: {error}"),
        })?;
        Ok(Self::from_events(trace.events))
    }

    fn from_events(events: Vec<Event>) -> Self {
        let complete_events = events.into_iter().filter(|event| event.ph == "X");
        let (gpu, others): (Vec<Event>, Vec<Event>) = complete_events.partition(Event::on_gpu);
        let mut host: Vec<Event> = others.into_iter().filter(Event::on_host).collect();
        // An event precedes the events that it encloses.
        host.sort_by(|a, b| a.ts.total_cmp(&b.ts).then(b.dur.total_cmp(&a.dur)));
        let recorded = || gpu.iter().chain(&host);
        let first = recorded().map(|event| event.ts).fold(f64::INFINITY, f64::min);
        let last = recorded().map(Event::end).fold(f64::NEG_INFINITY, f64::max);
        let busy = busy_intervals(&gpu);
        Self {
            milliseconds: (last - first).max(0.0) / 1e3,
            gpu_milliseconds: (!gpu.is_empty())
                .then(|| busy.iter().map(|(start, end)| end - start).sum::<f64>() / 1e3),
            kernels: sum_by_name(gpu.iter().map(|event| (event.name.as_str(), event.dur))),
            gaps: sum_by_name(gaps(&busy, &host)),
            waits: sum_by_name(
                host.iter()
                    .filter(|event| event.waits_for_gpu())
                    .map(|event| (&*event.name, event.dur)),
            ),
            operators: sum_by_name(exclusive_times(&host)),
        }
    }

    /// Returns a Markdown page with tables; times and counts are divided by `steps`.
    pub fn markdown(&self, steps: u64) -> String {
        let per_step = |value: f64| value / steps.max(1) as f64;
        let mut page = format!("{:.2} ms per step.", per_step(self.milliseconds));
        if let Some(busy) = self.gpu_milliseconds {
            let (kernels, waits) = (count(&self.kernels), count(&self.waits));
            let _ = write!(
                page,
                " The GPU is busy for {:.2} ms per step ({:.0} %), with {:.0} kernels and copies; \
                 the host waits for the GPU {:.1} times.",
                per_step(busy),
                100.0 * busy / self.milliseconds,
                per_step(kernels),
                per_step(waits),
            );
        }
        page.push('\n');
        let tables = [
            ("Kernels and copies on the GPU", &self.kernels),
            ("Idle time of the GPU, by operation of the host", &self.gaps),
            ("Host calls that wait for the GPU", &self.waits),
            ("Host operations, exclusive time", &self.operators),
        ];
        for (title, rows) in tables {
            if rows.is_empty() {
                continue;
            }
            let total: f64 = rows.iter().map(|row| row.milliseconds).sum();
            let _ = write!(
                page,
                "\n## {title}\n\n| name | calls per step | ms per step | share |\n\
                 |---|---:|---:|---:|\n"
            );
            for row in rows.iter().take(MAX_ROWS) {
                let _ = writeln!(
                    page,
                    "| `{}` | {:.1} | {:.3} | {:.1} % |",
                    shortened(&row.name),
                    per_step(row.count as f64),
                    per_step(row.milliseconds),
                    100.0 * row.milliseconds / total.max(f64::MIN_POSITIVE),
                );
            }
            let _ =
                writeln!(page, "| all | {:.1} | {:.3} | |", per_step(count(rows)), per_step(total));
        }
        page
    }
}

/// Returns the total number of events of all rows.
fn count(rows: &[NamedTime]) -> f64 {
    rows.iter().map(|row| row.count as f64).sum()
}

/// Shortens a name for a table, because kernel names with template arguments are long.
fn shortened(name: &str) -> String {
    let mut text = name.replace(['|', '`'], "/");
    for part in ["void ", "at::native::", "(anonymous namespace)::", "std::", "c10::"] {
        text = text.replace(part, "");
    }
    match text.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Sums times in microseconds by name, and sorts the sums in descending order.
fn sum_by_name<'a>(times: impl IntoIterator<Item = (&'a str, f64)>) -> Vec<NamedTime> {
    let mut sums: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
    for (name, time) in times {
        let sum = sums.entry(name).or_default();
        *sum = (sum.0 + 1, sum.1 + time);
    }
    let mut rows: Vec<NamedTime> = sums
        .into_iter()
        .map(|(name, (count, time))| NamedTime {
            name: name.to_owned(),
            count,
            milliseconds: time / 1e3,
        })
        .collect();
    rows.sort_by(|a, b| b.milliseconds.total_cmp(&a.milliseconds));
    rows
}

/// The intervals in which at least one event runs, in order.
fn busy_intervals(events: &[Event]) -> Vec<(f64, f64)> {
    let mut spans: Vec<(f64, f64)> = events.iter().map(|event| (event.ts, event.end())).collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut busy_intervals: Vec<(f64, f64)> = Vec::new();
    for (start, end) in spans {
        match busy_intervals.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => busy_intervals.push((start, end)),
        }
    }
    busy_intervals
}

/// For each gap between intervals of `busy`: the innermost host event that runs at the middle of
/// the gap, and the gap's length. Gaps shorter than [`MIN_GAP`] are skipped.
fn gaps<'a>(
    busy: &'a [(f64, f64)],
    host: &'a [Event],
) -> impl Iterator<Item = (&'a str, f64)> + 'a {
    busy.iter().zip(busy.iter().skip(1)).filter_map(|(previous, next)| {
        let gap = next.0 - previous.1;
        let middle = previous.1 + gap / 2.0;
        let count = host.partition_point(|event| event.ts <= middle);
        let started = host.get(..count).unwrap_or_default();
        let innermost = started.iter().rev().find(|event| event.end() > middle);
        (gap >= MIN_GAP).then(|| (innermost.map_or("(nothing recorded)", |event| &event.name), gap))
    })
}

/// Time of each event, excluding the events that it encloses on the same thread.
fn exclusive_times(host: &[Event]) -> Vec<(&str, f64)> {
    let mut times: Vec<f64> = host.iter().map(|event| event.dur).collect();
    let mut stacks: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, event) in host.iter().enumerate() {
        let stack = stacks.entry(format!("{} {}", event.pid, event.tid)).or_default();
        let ended = |&open: &usize| host.get(open).is_none_or(|open| open.end() <= event.ts);
        while stack.last().is_some_and(ended) {
            stack.pop();
        }
        if let Some(time) = stack.last().and_then(|&outer| times.get_mut(outer)) {
            *time = (*time - event.dur).max(0.0);
        }
        stack.push(index);
    }
    host.iter().map(|event| event.name.as_str()).zip(times).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(events: &[(&str, &str, u64, f64, f64)]) -> TraceSummary {
        let events = events.iter().map(|&(cat, name, tid, ts, dur)| Event {
            ph: "X".into(),
            cat: cat.into(),
            name: name.into(),
            pid: 1.into(),
            tid: tid.into(),
            ts,
            dur,
        });
        TraceSummary::from_events(events.collect())
    }

    fn row(name: &str, count: u64, milliseconds: f64) -> NamedTime {
        NamedTime { name: name.into(), count, milliseconds }
    }

    #[test]
    fn operators_have_exclusive_times() {
        let summary = trace(&[
            ("user_annotation", "forward", 1, 0.0, 1000.0),
            ("cpu_op", "linear", 1, 100.0, 400.0),
            ("cpu_op", "addmm", 1, 100.0, 300.0),
            ("cuda_runtime", "cudaLaunchKernel", 1, 350.0, 50.0),
            ("cpu_op", "linear", 1, 500.0, 100.0),
            // An operator on thread 2, at the same time as the operators on thread 1.
            ("cpu_op", "mm", 2, 100.0, 200.0),
            ("ac2g", "an arrow", 1, 0.0, 9e9),
        ]);
        assert_eq!(
            summary.operators,
            [
                row("forward", 1, 0.5),
                row("addmm", 1, 0.25),
                row("linear", 2, 0.2),
                row("mm", 1, 0.2),
                row("cudaLaunchKernel", 1, 0.05),
            ]
        );
        assert_eq!((summary.milliseconds, summary.gpu_milliseconds), (1.0, None));
        assert!(!summary.markdown(1).contains("GPU"));
    }

    #[test]
    fn gpu_idle_time_is_assigned_to_the_host_region() {
        let summary = trace(&[
            ("user_annotation", "read", 1, 0.0, 450.0),
            ("cuda_runtime", "cudaStreamSynchronize", 1, 150.0, 100.0),
            ("kernel", "void at::native::gemm<4>(int)", 7, 50.0, 100.0),
            // A copy on another stream that overlaps the first kernel.
            ("gpu_memcpy", "Memcpy DtoH", 8, 140.0, 20.0),
            ("kernel", "void at::native::gemm<4>(int)", 7, 200.0, 50.0),
            // The gap before this kernel is too short to count as idle.
            ("kernel", "norm", 7, 252.0, 48.0),
            ("kernel", "norm", 7, 500.0, 100.0),
            ("kernel", "norm", 7, 800.0, 100.0),
        ]);
        assert_eq!(summary.gpu_milliseconds, Some(0.408));
        assert_eq!(summary.milliseconds, 0.9);
        assert_eq!(
            summary.gaps,
            [
                row("(nothing recorded)", 1, 0.2),
                row("read", 1, 0.2),
                row("cudaStreamSynchronize", 1, 0.04)
            ]
        );
        assert_eq!(summary.waits, [row("cudaStreamSynchronize", 1, 0.1)]);
        assert_eq!(summary.kernels.first(), Some(&row("norm", 3, 0.248)));
        let page = summary.markdown(2);
        assert!(page.starts_with("0.45 ms per step. The GPU is busy for 0.20 ms per step (45 %)"));
        assert!(page.contains("| `gemm<4>(int)` | 1.0 | 0.075 | 35.9 % |"), "{page}");
    }

    #[test]
    fn empty_traces_are_summarized_and_invalid_traces_are_errors() {
        assert_eq!(trace(&[]), TraceSummary::default());
        assert_eq!(TraceSummary::default().markdown(0), "0.00 ms per step.\n");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        assert!(TraceSummary::read(&path).unwrap_err().to_string().contains("trace.json"));
        std::fs::write(&path, "{}").unwrap();
        let error = TraceSummary::read(&path).unwrap_err().to_string();
        assert!(error.contains("trace.json: invalid trace"), "{error}");
    }
}
