"""`python -m functions.staging.configure`: fetch and verify the data sets and the algorithm."""

from functions.staging.configure.program import main

raise SystemExit(main())
