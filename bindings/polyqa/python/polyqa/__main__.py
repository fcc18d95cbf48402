"""The program: `polyqa` and `python -m polyqa`."""

import os
import signal
import sys


def main() -> int:
    """Runs the program with this process's arguments; returns its exit code."""
    # SIGINT ends the process immediately, as in a Rust program, unless the parent process
    # ignores SIGINT. SIGPIPE needs no change, because Python and Rust programs both ignore it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from polyqa import _polyqa
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    reader = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reader")
    if os.path.isdir(reader):
        # The default of --model: the reader in the wheel, unless the user has set another one.
        os.environ.setdefault("POLYQA_MODEL", reader)
    return _polyqa.program(["polyqa", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
