"""The program: `polyqa` and `python -m polyqa`."""

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
    return _polyqa.program(["polyqa", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
