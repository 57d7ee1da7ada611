"""Entry of `saccade` and `python -m app`: parse, run, and turn errors into exit codes."""

import sys

from app.overview import help_page
from pipeline.schema.errors import SaccadeError


def main() -> None:
    """Run one command and leave with its exit code (design 4)."""
    if sys.argv[1:] in ([], ["--help"], ["-h"]):
        print(help_page())
        return
    from app.cli import app

    try:
        result = app.meta(sys.argv[1:], result_action="return_value")
        sys.stdout.flush()
    except SaccadeError as error:
        print(f"saccade: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # whoever read has left, as `| head` does
        from app.terminal import silence_stdout

        silence_stdout()
        result = 0
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
