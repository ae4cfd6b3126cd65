"""Which image errors are definitive: no registry will change its answer within minutes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from support.recorded import REF, START, pod_events

from functions.advance.reconcile import observation_of
from functions.cluster.kubernetes.job_status import status_of_pod
from functions.cluster.ports import State
from functions.workflow.model import Stage
from functions.workflow.observation import StageStuck

# As containerd, CRI-O and registries write them.
DEFINITIVE = [
    ("ErrImagePull", 'failed to pull and unpack image "docker.io/library/nope:1": failed to resolve reference '
     '"docker.io/library/nope:1": docker.io/library/nope:1: not found'),
    ("ErrImagePull", "rpc error: code = NotFound desc = failed to pull and unpack image: failed to resolve reference "
     '"ghcr.io/a/b:9": ghcr.io/a/b:9: not found'),
    ("ErrImagePull", "pull access denied, repository does not exist or may require authorization: server message: "
     "insufficient_scope: authorization failed"),
    ("ErrImagePull", "reading manifest 9 in docker.io/library/python: manifest unknown"),
    ("ErrImagePull", "reading manifest latest in quay.io/a/b: unauthorized: access to the requested resource is not "
     "authorized"),
    ("ErrImagePull", "initializing source docker://a/b:1: requested access to the resource is denied"),
    ("ErrImagePull", "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to "
     "https://ghcr.io/token: 403 Forbidden"),
    ("ErrImagePull", "unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 401 Unauthorized"),
    ("ErrImagePull", "no matching manifest for linux/arm64/v8 in the manifest list entries"),
    ("ErrImagePull", 'failed to pull and unpack image "r.example/a:1": no match for platform in manifest: not found'),
    ("InvalidImageName", 'Failed to apply default image tag "A:1": invalid reference format'),
    ("ErrImageNeverPull", 'Container image "a:1" is not present with pull policy of Never'),
]  # fmt: skip
PASSING = [
    ("ErrImagePull", 'Head "https://bench.local/v2/a/manifests/1": dial tcp: lookup bench.local: no such host'),
    ("ErrImagePull", 'Head "https://r.example/v2/a/manifests/1": dial tcp 10.0.0.1:443: i/o timeout'),
    ("ErrImagePull", 'Get "https://r.example/v2/": net/http: TLS handshake timeout'),
    ("ErrImagePull", "429 Too Many Requests - toomanyrequests: You have reached your unauthenticated pull rate limit"),
    ("ErrImagePull", "unexpected status from HEAD request to https://r.example/v2/a/: 503 Service Unavailable"),
    ("ErrImagePull", "failed to authorize: failed to fetch oauth token: 503 Service Unavailable: unauthorized"),
    ("ErrImagePull", "failed to extract layer sha256:0: failed to get reader from content store: content digest "
     "sha256:0: not found"),
    ("ErrImagePull", "failed to copy: httpReadSeeker: failed open: unexpected EOF"),
    ("ErrImagePull", ""),
    ("CreateContainerConfigError", 'secret "registry" not found'),
    ("RunContainerError", 'exec: "python3": executable file not found in $PATH'),
]  # fmt: skip


def waiting(reason: str, message: str) -> dict[str, Any]:
    """A Pod whose container waits with that reason and message."""
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T02:29:57Z"}
    state = {"waiting": {"reason": reason, "message": message}}
    container = {"name": "main", "state": state}
    return {"metadata": {}, "status": {"conditions": [scheduled], "containerStatuses": [container]}}


def backed_off(reason: str, message: str) -> dict[str, Any]:
    """The same Pod between two pulls: since Kubernetes 1.31 the message repeats the error of the last one."""
    return waiting("ImagePullBackOff", f'Back-off pulling image "a:1": {reason}: {message}')


@pytest.mark.parametrize("pod", [waiting, backed_off])
@pytest.mark.parametrize(("reason", "message"), [each for each in DEFINITIVE if each[0] == "ErrImagePull"])
def test_an_answer_of_the_registry_that_will_not_change_is_definitive(pod: Any, reason: str, message: str) -> None:
    status = status_of_pod(pod(reason, message), Stage.ALGORITHM)
    assert (status.state, status.definitive) == (State.STUCK, True)


@pytest.mark.parametrize(("reason", "message"), [each for each in DEFINITIVE if each[0] != "ErrImagePull"])
def test_a_reason_that_says_it_all_is_definitive(reason: str, message: str) -> None:
    assert status_of_pod(waiting(reason, message), Stage.ALGORITHM).definitive


@pytest.mark.parametrize("pod", [waiting, backed_off])
@pytest.mark.parametrize(("reason", "message"), PASSING)
def test_an_outage_and_a_limit_may_pass(pod: Any, reason: str, message: str) -> None:
    status = status_of_pod(pod(reason, message), Stage.ALGORITHM)
    assert (status.state, status.definitive) == (State.STUCK, False)


def test_the_recorded_registry_that_has_no_address_may_pass() -> None:
    bodies = [sent.body for sent in pod_events("image-missing")]
    stuck = [status for body in bodies if (status := status_of_pod(body, Stage.ALGORITHM)).state is State.STUCK]
    assert stuck
    assert not any(status.definitive for status in stuck)


def test_the_rules_are_told_that_an_error_is_definitive() -> None:
    status = status_of_pod(waiting(*DEFINITIVE[0]), Stage.ALGORITHM)
    seen = observation_of(REF, status)
    assert isinstance(seen, StageStuck)
    assert seen.definitive
    assert START < seen.since < START + timedelta(minutes=5)
