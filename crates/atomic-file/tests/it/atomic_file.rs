//! Files appear whole or not at all.
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use atomic_file::{AtomicFile, write};
use tempfile::tempdir;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_appears_when_it_is_finished() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    let mut file = AtomicFile::create(&path).unwrap();
    assert_eq!(file.path(), path);
    for number in 0..100_000 {
        writeln!(file, "{number}").unwrap();
    }
    file.flush().unwrap();
    let [temporary] = &names(folder.path())[..] else { panic!("one file, under another name") };
    assert!(temporary.starts_with('.') && !path.exists(), "{temporary}");
    file.finish().unwrap();
    assert_eq!(names(folder.path()), ["file"]);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().map(|line| line.parse::<u32>().unwrap()).eq(0..100_000));
}

#[test]
fn an_existing_file_is_unchanged_until_it_is_replaced() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "the old text, which is longer").unwrap();
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"new").unwrap();
    let synced = file.sync().unwrap();
    assert_eq!(synced.path(), path);
    assert_eq!(fs::read_to_string(&path).unwrap(), "the old text, which is longer");
    synced.publish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    write(&path, "newer").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "newer");
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn a_file_that_is_dropped_vanishes() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"half of it").unwrap();
    drop(file);
    assert_eq!(names(folder.path()), ["file"]);
    drop(AtomicFile::create(&path).unwrap().sync().unwrap());
    assert_eq!(names(folder.path()), ["file"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}

#[test]
fn a_folder_in_the_way_is_refused_and_stays() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("taken");
    fs::create_dir(&path).unwrap();
    assert_eq!(AtomicFile::create(&path).unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(write(&path, "x").unwrap_err().kind(), ErrorKind::IsADirectory);
    // One that comes later is an error of the rename.
    let late = folder.path().join("late");
    let file = AtomicFile::create(&late).unwrap();
    fs::create_dir(&late).unwrap();
    assert!(file.finish().is_err());
    assert_eq!(names(folder.path()), ["late", "taken"]);
    assert!(path.is_dir() && names(&path).is_empty());
}

#[test]
fn a_folder_that_is_missing_is_named_and_not_made() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for (path, kind) in
        [("missing/file", ErrorKind::NotFound), ("file/file", ErrorKind::NotADirectory)]
    {
        let path = folder.path().join(path);
        let error = write(&path, "x").unwrap_err();
        assert_eq!(error.kind(), kind);
        let parent = path.parent().unwrap().display().to_string();
        let message = error.to_string();
        assert!(message.contains(&parent) && !message.contains(".writing"), "{message}");
    }
    assert_eq!(names(folder.path()), ["file"]);
    assert_eq!(write("", "x").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[cfg(unix)]
#[test]
fn modes_are_those_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempdir().unwrap();
    let mode =
        |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o7777;
    fs::write(folder.path().join("plain"), "").unwrap();
    // The mode of a file that is replaced does not count.
    for name in ["written", "streamed"] {
        let path = folder.path().join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    write(folder.path().join("written"), "x").unwrap();
    AtomicFile::create(folder.path().join("streamed")).unwrap().finish().unwrap();
    for name in ["written", "streamed"] {
        assert_eq!(mode(name), mode("plain"), "{name}");
    }
}

#[cfg(unix)]
mod what_is_no_regular_file {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, symlink};

    use atomic_file::publish_all;
    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn a_link_is_followed_and_stays() {
        let folder = tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("deep")).unwrap();
        fs::write(at("deep/file"), "old").unwrap();
        symlink("deep/file", at("one")).unwrap();
        symlink("one", at("two")).unwrap();
        symlink("deep/none", at("dangling")).unwrap();
        write(at("two"), "new").unwrap();
        write(at("dangling"), "made").unwrap();
        assert_eq!(fs::read_to_string(at("deep/file")).unwrap(), "new");
        assert_eq!(fs::read_to_string(at("deep/none")).unwrap(), "made");
        for name in ["one", "two", "dangling"] {
            assert!(fs::symlink_metadata(at(name)).unwrap().is_symlink(), "{name}");
        }
        symlink("circle", at("circle")).unwrap();
        let error = write(at("circle"), "x").unwrap_err().to_string();
        assert!(error.contains("links"), "{error}");
        symlink("deep", at("folder")).unwrap();
        assert_eq!(write(at("folder"), "x").unwrap_err().kind(), ErrorKind::IsADirectory);
    }

    #[test]
    fn a_pipe_and_a_device_are_written_and_stay() {
        let folder = tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
        let text = "x".repeat(200_000);
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut text = String::new();
                File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
                text
            }
        });
        write(&pipe, &text).unwrap();
        assert!(reader.join().unwrap() == text);
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(names(folder.path()), ["pipe"]);
        write("/dev/null", "x").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        let full = write("/dev/full", "x").unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn files_that_belong_together_appear_together_or_not_at_all() {
        let folder = tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let synced = |name: &str| {
            let mut file = AtomicFile::create(at(name)).unwrap();
            file.write_all(b"new").unwrap();
            file.sync().unwrap()
        };
        let files = ["a", "b"].map(synced);
        // It comes only after everything was written.
        fs::create_dir(at("b")).unwrap();
        assert_eq!(publish_all(files).unwrap_err().path, at("b"));
        assert_eq!(names(folder.path()), ["b"]);
        fs::remove_dir(at("b")).unwrap();
        let mut together = atomic_file::FileSet::default();
        together.add(at("a"), "1").unwrap();
        together.add(at("b"), "2").unwrap();
        assert!(!at("a").exists());
        together.publish().unwrap();
        assert_eq!(names(folder.path()), ["a", "b"]);
    }
}
