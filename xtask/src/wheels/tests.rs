use super::*;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;

fn smallest_wheel() -> &'static Wheel {
    Set::Cpu.wheels().into_iter().min_by_key(|wheel| wheel.size).unwrap()
}

fn create_file(path: &Path, size: u64) {
    fs::File::create(path).unwrap().set_len(size).unwrap();
}

#[test]
fn the_cache_state_depends_on_the_file_sizes() {
    let cache = tempfile::tempdir().unwrap();
    let wheel = smallest_wheel();
    let (complete, partial) =
        (cache.path().join(wheel.file_name()), partial_path(cache.path(), wheel));
    assert_eq!(cache_state(cache.path(), wheel), CacheState::Missing);
    for (size, expected) in [
        (0, CacheState::Missing),
        (1, CacheState::Partial(1)),
        (wheel.size, CacheState::Partial(wheel.size)),
        (wheel.size + 1, CacheState::Missing),
    ] {
        create_file(&partial, size);
        assert_eq!(cache_state(cache.path(), wheel), expected, "{size} bytes");
    }
    create_file(&complete, wheel.size - 1);
    assert_eq!(cache_state(cache.path(), wheel), CacheState::Missing, "a short file");
    create_file(&complete, wheel.size);
    assert_eq!(cache_state(cache.path(), wheel), CacheState::Complete);
}

#[test]
fn df_output_is_parsed() {
    let text = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                /dev/vda         263174212 19000000  76000000      21% /\n";
    assert_eq!(parse_df(text), Some(76_000_000 * 1024));
    let text_with_spaces = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                  my share 100 40 60 40% /mnt/a b\n";
    assert_eq!(parse_df(text_with_spaces), Some(60 * 1024));
    assert_eq!(parse_df("df: no such file"), None);
    assert_eq!(parse_df(""), None);
}

#[test]
fn a_lock_of_an_ended_process_is_ignored() {
    let cache = tempfile::tempdir().unwrap();
    fs::write(cache.path().join("lock"), "4294967295").unwrap();
    let lock = Lock::take(cache.path()).unwrap();
    drop(lock);
    assert!(!cache.path().join("lock").exists());
    for text in ["", "x", "1/../self", "-1"] {
        assert!(!is_running_setup(text), "{text}");
    }
}

#[test]
fn a_lock_of_a_running_setup_is_an_error() {
    // The name of the test binary also starts with `xtask`, so this process counts as a running
    // setup.
    let process_id = std::process::id().to_string();
    if Path::new("/proc/self/exe").exists() {
        assert!(is_running_setup(&process_id));
        let cache = tempfile::tempdir().unwrap();
        fs::write(cache.path().join("lock"), process_id).unwrap();
        assert!(Lock::take(cache.path()).is_err());
    }
}

/// Serves `content` once on a loopback port; returns the URL and a thread that returns the request.
fn serve_once(content: &'static [u8]) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file.whl", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = String::new();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        while lines.read_line(&mut request).unwrap() > 2 {}
        let from = request.split("bytes=").nth(1).and_then(|text| text.split('-').next());
        let from: Option<usize> = from.map(|text| text.parse().unwrap());
        let sent = &content[from.unwrap_or(0)..];
        let status = if from.is_some() { "206 Partial Content" } else { "200 OK" };
        let response_head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", sent.len());
        stream.write_all(response_head.as_bytes()).unwrap();
        stream.write_all(sent).unwrap();
        request
    });
    (url, server)
}

/// Runs the Python helper; `None` on a machine without python3, where the test is skipped.
fn helper_output(arguments: &[&OsStr]) -> Option<Output> {
    let root = crate::process::workspace_root().unwrap();
    let mut python = helper(&root, arguments);
    python.stdin(Stdio::null()).env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    python.output().map_err(|_| eprintln!("skipped: no python3")).ok()
}

#[test]
fn the_helper_requests_only_missing_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("file.whl.part");
    for (existing, expected_range) in [("", None), ("01234", Some("bytes=5-"))] {
        fs::write(&part, existing).unwrap();
        let (url, server) = serve_once(b"0123456789");
        let Some(done) = helper_output(&["get".as_ref(), url.as_ref(), part.as_ref()]) else {
            return;
        };
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let request = server.join().unwrap();
        assert_eq!(request.contains("Range:"), expected_range.is_some(), "{request}");
        assert!(expected_range.is_none_or(|range| request.contains(range)), "{request}");
        assert_eq!(fs::read_to_string(&part).unwrap(), "0123456789");
    }
    // SHA-256 of "abc", an example of the standard.
    fs::write(&part, "abc").unwrap();
    let sum = helper_output(&["sha256".as_ref(), part.as_ref()]).unwrap().stdout;
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(String::from_utf8(sum).unwrap().trim(), expected);
}

#[test]
fn damaged_wheels_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.whl");
    fs::write(&file, "not a zip").unwrap();
    let Some(done) = helper_output(&["names".as_ref(), file.as_ref()]) else { return };
    assert_eq!(done.status.code(), Some(7));
    let downloads = Downloads { root: folder.path(), folder: CACHE, command: "", advice: "" };
    assert!(
        downloads.explain(smallest_wheel(), &done).cause.to_string().contains("damaged"),
        "{done:?}"
    );
}
