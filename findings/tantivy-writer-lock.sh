#!/usr/bin/env bash
# tantivy 0.27 refuses a writer although the only other one is gone, while another thread starts programs.
#
# The lock of a writer is an flock that ends when its file is closed. A child process shares the open file from fork
# until it executes its program, so the lock outlives the writer by that time. A service that starts programs and opens
# one writer at a time gets LockBusy now and then. Without children, it never does. A lock that is released by an
# explicit unlock before the file is closed, as in filelock, is not affected.
# Versions: tantivy (Python) 0.27.0, filelock 3.20.0.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
install packages tantivy==0.27.0 filelock==3.20.0

with packages - <<'PY'
import subprocess
import tempfile
import threading
import time

import filelock
import tantivy

builder = tantivy.SchemaBuilder()
builder.add_text_field("body")
schema = builder.build()
ROUNDS = 300


def open_writer(folder):
    writer = tantivy.Index(schema, path=folder, reuse=True).writer(15_000_000, 1)
    writer.wait_merging_threads()


def lock_file(folder):
    lock = filelock.UnixFileLock(f"{folder}/lock")
    lock.acquire(blocking=False)
    lock.release()


def count_refusals(open_and_close, starters):
    """Number of rounds, one after another in one thread, in which opening is refused at least once."""
    is_finished = threading.Event()

    def start_programs():
        while not is_finished.is_set():
            subprocess.run(["true"])

    threads = [threading.Thread(target=start_programs) for _ in range(starters)]
    for thread in threads:
        thread.start()
    refused = 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            was_refused = False
            while True:
                try:
                    open_and_close(folder)
                    break
                except ValueError as error:
                    assert "LockBusy" in str(error), error
                except filelock.Timeout:
                    pass
                was_refused = True
                time.sleep(0.001)
            refused += was_refused
    is_finished.set()
    for thread in threads:
        thread.join()
    return refused


alone = count_refusals(open_writer, 0)
starting = count_refusals(open_writer, 2)
unlocked = count_refusals(lock_file, 2)
print(f"tantivy, no programs started: {alone} of {ROUNDS} rounds refused")
print(f"tantivy, while two threads start programs: {starting} of {ROUNDS} rounds refused")
print(f"filelock, while two threads start programs: {unlocked} of {ROUNDS} rounds refused")
assert alone == 0 and starting > 0 and unlocked == 0, "the behaviour has changed"
PY
