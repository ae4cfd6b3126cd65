"""`python -m functions.staging.publish`: upload the results, and the manifest last."""

from functions.staging.command_line import import_msgspec

import_msgspec()

from functions.staging.publish.program import main  # noqa: E402

raise SystemExit(main())
