"""`python -m functions.staging.publish`: upload the results, and the manifest last."""

from functions.staging.publish.program import main

raise SystemExit(main())
