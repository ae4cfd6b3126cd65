"""`python -m functions.staging.check`: judge what wants to leave, by the rules of the data holders' policy."""

from functions.staging.check.program import main

raise SystemExit(main())
