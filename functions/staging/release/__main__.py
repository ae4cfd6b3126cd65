"""`python -m functions.staging.release`: copy what was decided from the quarantine to the results."""

from functions.staging.command_line import import_msgspec

import_msgspec()

from functions.staging.release.program import main  # noqa: E402

raise SystemExit(main())
