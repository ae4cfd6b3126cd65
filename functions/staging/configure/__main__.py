"""`python -m functions.staging.configure`: fetch and verify the data sets and the algorithm."""

from functions.staging.command_line import import_msgspec

import_msgspec()

from functions.staging.configure.program import main  # noqa: E402

raise SystemExit(main())
