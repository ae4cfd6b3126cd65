"""The folders and files on a workflow's volume, as paths relative to it. In a Pod the volume is mounted at `/data`.

The names of the folders are Ocean's. In a GA4GH TES task, the tree of its places, `/work` and `/in` in its containers,
is below `outputs`; what its executor n prints is in `logs/<n>/stdout` and `logs/<n>/stderr`.
"""

VOLUME = "/data"

INPUTS = "inputs"
TRANSFORMATIONS = "transformations"
DDOS = "ddos"
OUTPUTS = "outputs"
LOGS = "logs"
ADMIN_LOGS = "adminlogs"
UNFILTERED_LIST = "unfiltered.sha256"  # in the next folder: the outputs before the filter, as sha256sum writes them
FILTER_FOLDER = f"{ADMIN_LOGS}/filter"  # the only part of the admin logs that a filter's Pod can write to

ALGORITHM = f"{TRANSFORMATIONS}/algorithm"
PROVENANCE = "provenance.json"
FAILED_INPUT = "failed-input"  # names the input of a TES task that could not be fetched, for its owner

ALGORITHM_LOG = f"{LOGS}/algorithm.log"
UNFILTERED_LOG = f"{ADMIN_LOGS}/algorithm.log"  # the same log, published for the operator only
EXECUTOR_LOGS = f"{ADMIN_LOGS}/executor-"  # the beginning of the names under which the operator finds them
CONFIGURE_LOG = f"{ADMIN_LOGS}/configure.log"
FILTER_LOG = f"{ADMIN_LOGS}/filter.log"
POD_FILTER_LOG = f"{FILTER_FOLDER}/filter.log"  # the same log, where the filter runs in a Pod
PUBLISH_LOG = f"{ADMIN_LOGS}/publish.log"
RELEASE_LOG = f"{ADMIN_LOGS}/release.log"
CHECK_LOG = f"{ADMIN_LOGS}/check.log"
CHECKS_REPORT = f"{ADMIN_LOGS}/checks.json"
