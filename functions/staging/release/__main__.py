"""`python -m functions.staging.release`: copy what was decided from the quarantine to the results."""

from functions.staging.release.program import main

raise SystemExit(main())
