//! Tests that files are published completely or not at all.
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use atomic_file::{AtomicFile, write};
use tempfile::tempdir;

fn file_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_published_when_it_is_finished() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    let mut file = AtomicFile::create(&path).unwrap();
    assert_eq!(file.path(), path);
    for number in 0..100_000 {
        writeln!(file, "{number}").unwrap();
    }
    file.flush().unwrap();
    let [temporary] = &file_names(folder.path())[..] else { panic!("expected one temporary file") };
    assert!(temporary.starts_with('.') && !path.exists(), "{temporary}");
    file.finish().unwrap();
    assert_eq!(file_names(folder.path()), ["file"]);
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
    assert_eq!(file_names(folder.path()), ["file"]);
}

#[test]
fn an_unfinished_file_is_removed_when_it_is_dropped() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"half of it").unwrap();
    drop(file);
    assert_eq!(file_names(folder.path()), ["file"]);
    drop(AtomicFile::create(&path).unwrap().sync().unwrap());
    assert_eq!(file_names(folder.path()), ["file"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}

#[test]
fn a_target_that_is_a_folder_is_rejected_and_unchanged() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("taken");
    fs::create_dir(&path).unwrap();
    assert_eq!(AtomicFile::create(&path).unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(write(&path, "x").unwrap_err().kind(), ErrorKind::IsADirectory);
    // If a folder with the target's path is created later, the rename fails.
    let late_folder = folder.path().join("late");
    let file = AtomicFile::create(&late_folder).unwrap();
    fs::create_dir(&late_folder).unwrap();
    assert!(file.finish().is_err());
    assert_eq!(file_names(folder.path()), ["late", "taken"]);
    assert!(path.is_dir() && file_names(&path).is_empty());
}

#[test]
fn a_missing_folder_is_named_in_the_error_and_not_created() {
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
    assert_eq!(file_names(folder.path()), ["file"]);
    assert_eq!(write("", "x").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[cfg(unix)]
#[test]
fn files_have_the_default_mode_of_new_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempdir().unwrap();
    let mode_of =
        |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o7777;
    fs::write(folder.path().join("plain"), "").unwrap();
    // The mode of the replaced file is ignored.
    for name in ["written", "streamed"] {
        let path = folder.path().join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    write(folder.path().join("written"), "x").unwrap();
    AtomicFile::create(folder.path().join("streamed")).unwrap().finish().unwrap();
    for name in ["written", "streamed"] {
        assert_eq!(mode_of(name), mode_of("plain"), "{name}");
    }
}

#[cfg(unix)]
mod links_pipes_and_devices {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, symlink};

    use atomic_file::publish_all;
    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn a_link_is_followed_and_preserved() {
        let folder = tempdir().unwrap();
        let path_of = |name: &str| folder.path().join(name);
        fs::create_dir(path_of("deep")).unwrap();
        fs::write(path_of("deep/file"), "old").unwrap();
        symlink("deep/file", path_of("one")).unwrap();
        symlink("one", path_of("two")).unwrap();
        symlink("deep/none", path_of("dangling")).unwrap();
        write(path_of("two"), "new").unwrap();
        write(path_of("dangling"), "made").unwrap();
        assert_eq!(fs::read_to_string(path_of("deep/file")).unwrap(), "new");
        assert_eq!(fs::read_to_string(path_of("deep/none")).unwrap(), "made");
        for name in ["one", "two", "dangling"] {
            assert!(fs::symlink_metadata(path_of(name)).unwrap().is_symlink(), "{name}");
        }
        symlink("circle", path_of("circle")).unwrap();
        let error = write(path_of("circle"), "x").unwrap_err().to_string();
        assert!(error.contains("links"), "{error}");
        symlink("deep", path_of("folder")).unwrap();
        assert_eq!(write(path_of("folder"), "x").unwrap_err().kind(), ErrorKind::IsADirectory);
    }

    #[test]
    fn a_pipe_and_a_device_are_written_directly() {
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
        assert_eq!(file_names(folder.path()), ["pipe"]);
        write("/dev/null", "x").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        let error = write("/dev/full", "x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(error.to_string().starts_with("cannot write /dev/full: "), "{error}");
    }

    #[test]
    fn a_set_of_files_is_published_together_or_not_at_all() {
        let folder = tempdir().unwrap();
        let path_of = |name: &str| folder.path().join(name);
        let write_synced = |name: &str| {
            let mut file = AtomicFile::create(path_of(name)).unwrap();
            file.write_all(b"new").unwrap();
            file.sync().unwrap()
        };
        let files = ["a", "b"].map(write_synced);
        // The target `b` becomes a folder after all files were written.
        fs::create_dir(path_of("b")).unwrap();
        assert_eq!(publish_all(files).unwrap_err().path, path_of("b"));
        assert_eq!(file_names(folder.path()), ["b"]);
        fs::remove_dir(path_of("b")).unwrap();
        let mut file_set = atomic_file::FileSet::default();
        file_set.add(path_of("a"), "1").unwrap();
        file_set.add(path_of("b"), "2").unwrap();
        assert!(!path_of("a").exists());
        file_set.publish().unwrap();
        assert_eq!(file_names(folder.path()), ["a", "b"]);
    }
}
