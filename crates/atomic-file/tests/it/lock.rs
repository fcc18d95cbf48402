use std::fs::File;
use std::io::ErrorKind;

use atomic_file::FileLock;

#[test]
fn a_lock_is_exclusive_until_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let file = File::create(&path).unwrap();
    let lock = FileLock::try_acquire(&file).unwrap();
    assert!(lock.is_some());
    // A duplicated handle shares the lock, like the handle of a forked child process.
    let _inherited = file.try_clone().unwrap();
    drop(file);
    let second_handle = File::open(&path).unwrap();
    assert_eq!(FileLock::try_acquire(&second_handle).unwrap_err().kind(), ErrorKind::WouldBlock);
    let waiter = std::thread::spawn(move || FileLock::acquire(&second_handle).unwrap().is_some());
    drop(lock);
    assert!(waiter.join().unwrap());
    assert!(FileLock::try_acquire(&File::open(&path).unwrap()).unwrap().is_some());
}
