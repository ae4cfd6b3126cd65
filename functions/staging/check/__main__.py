"""`python -m functions.staging.check`: judge what wants to leave, by the rules of the data holders' policy."""

from functions.staging.command_line import import_msgspec

import_msgspec()

from functions.staging.check.program import main  # noqa: E402

raise SystemExit(main())
