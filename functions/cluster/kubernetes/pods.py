"""The Pod template of one stage, within Pod Security "restricted". Pure."""

from __future__ import annotations

import shlex
from typing import Any

from msgspec.structs import replace

from functions.cluster import stage_command
from functions.cluster.kubernetes import executor_pods
from functions.cluster.kubernetes.job_status import CONTAINER
from functions.cluster.kubernetes.scripts import no_expansion, script
from functions.cluster.labels import job_labels
from functions.cluster.ports import StageJob
from functions.settings import Settings
from functions.workflow.model import Stage
from functions.workflow.quantity import format_cores, format_quantity
from functions.workflow.tes_task import TesTask, image_name
from functions.workflow.volume_layout import ADMIN_LOGS, FILTER_FOLDER, LOGS, OUTPUTS, UNFILTERED_LIST, VOLUME

TASK_FOLDER = "/workflow"
CREDENTIALS_FOLDER = "/credentials"
OUTPUT_CREDENTIALS_FOLDER = "/output-credentials"
# The only part of the admin logs that a filter sees: a folder that configure made for the filter's own log.
FILTER_LOGS = "/sluice"
# Publish compares the outputs with this list. It has no name with a line break, because that could forge a line.
_LIST_OUTPUTS = f"""(cd "$OUTPUTS" && find . -type f ! -path '*
*' -exec sha256sum {{}} + && echo complete) 2>/dev/null >{FILTER_LOGS}/{UNFILTERED_LIST}
"""
TASK_KEY, SECRET_KEY = "task.json", "secret"
# Our own programs stream the data, so they need the same for every size. A CPU limit would slow their start.
_STAGING_LIMITS = {"memory": "512Mi", "ephemeral-storage": "1Gi"}
# They mostly wait for the network, and must fit on a small cluster.
_STAGING_CPU_REQUEST = "100m"
_PREFETCH_RESOURCES = {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "16Mi"}
PREFETCH_SECONDS = 600
_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# For programs that are never run twice: a node that is removed to save costs would end the workflow. The Cluster
# Autoscaler reads the first, Karpenter the second.
_UNDISTURBED = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
GRACE_SECONDS = 5  # a program that ignores SIGTERM would hold its Job for the default 30


def pod_template(job: StageJob, settings: Settings, base_name: str) -> dict[str, Any]:
    """The Pod template of one attempt. `base_name`: the name of the workflow's volume claim and Secret."""
    spec = {
        **_common_spec(job, with_pull_secret=_may_use_pull_secret(job)),
        "containers": [_container(job, settings, base_name)],
        "volumes": _volumes(job, settings, base_name),
    }
    if job.environment.runtime_class and not job.stage.is_ours:
        spec["runtimeClassName"] = job.environment.runtime_class
    annotations = {} if job.stage.is_ours else {"annotations": _UNDISTURBED}
    return {"metadata": {"labels": job_labels(job.ref), **annotations}, "spec": spec}


def prefetch_spec(job: StageJob) -> dict[str, Any]:
    """The spec of a Pod that pulls the algorithm's image on the node of configure, the stage of `job`, and ends.

    Its command need not exist in the image: the image is pulled before it is run.
    """
    algorithm = replace(job, stage=Stage.ALGORITHM)
    beside = {"workflow": job.workflow, "component": Stage.CONFIGURE.value}
    term = {"labelSelector": {"matchLabels": beside}, "topologyKey": "kubernetes.io/hostname"}
    spec = {
        **_common_spec(job, with_pull_secret=_may_use_pull_secret(algorithm)),
        "activeDeadlineSeconds": PREFETCH_SECONDS,
        "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
        "containers": [
            {
                "name": CONTAINER,
                "image": stage_command.image(job),
                "imagePullPolicy": _pull_policy(algorithm),
                "command": ["true"],
                "resources": {"requests": _PREFETCH_RESOURCES, "limits": _PREFETCH_RESOURCES},
                "securityContext": _CONTAINER_SECURITY,
            }
        ],
    }
    if job.environment.runtime_class:
        spec["runtimeClassName"] = job.environment.runtime_class
    return spec


def _common_spec(job: StageJob, *, with_pull_secret: bool) -> dict[str, Any]:
    """The part of the spec that the Pods of all stages have in common in one environment."""
    environment = job.environment
    user = environment.run_as_user
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if environment.node_selector:
        spec["nodeSelector"] = dict(environment.node_selector)
    if environment.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in environment.tolerations]
    if with_pull_secret:
        spec["imagePullSecrets"] = [{"name": environment.pull_secret}]
    return spec


def _may_use_pull_secret(job: StageJob) -> bool:
    """Whether the operator's pull secret is for this image. A consumer's image must be in the environment's list."""
    environment = job.environment
    if not environment.pull_secret or job.stage is not Stage.ALGORITHM:
        return bool(environment.pull_secret)
    reference = stage_command.image(job)
    image = image_name(reference) or reference
    return any(
        image == allowed or (allowed.endswith("/") and image.startswith(allowed))
        for allowed in environment.pull_secret_images
    )


def _pull_policy(job: StageJob) -> str:
    """`Always` for a consumer's image where there is a pull secret.

    Without it, a node that holds a private image would run it for everybody who names it.
    """
    is_at_risk = job.stage is Stage.ALGORITHM and job.environment.pull_secret
    return "Always" if is_at_risk else job.environment.pull_policy


def _container(job: StageJob, settings: Settings, base_name: str) -> dict[str, Any]:
    limits = _resources(job)
    requests = {**limits, "cpu": _STAGING_CPU_REQUEST} if job.stage.is_ours else dict(limits)
    container = {
        "name": CONTAINER,
        "image": _image(job, settings),
        "imagePullPolicy": _pull_policy(job),
        "env": _env(job, base_name),
        "resources": {"requests": requests, "limits": limits},
        "securityContext": _CONTAINER_SECURITY,
        "volumeMounts": _mounts(job),
    }
    if task := _task(job):
        return {**container, **executor_pods.command(job, task)}
    command = [no_expansion(word) for word in _command(job)]
    return {**container, "command": command} if command else container


def _image(job: StageJob, settings: Settings) -> str:
    match job.stage:
        case Stage.ALGORITHM:
            return stage_command.image(job)
        case Stage.FILTER:
            return job.environment.filter_image
        case _:
            return settings.image


def _command(job: StageJob) -> list[str]:
    match job.stage:
        case Stage.ALGORITHM:
            return _logged(job, stage_command.algorithm_command(job, VOLUME))
        case Stage.FILTER if job.environment.filter_command:
            command = f"{_LIST_OUTPUTS}{shlex.join(job.environment.filter_command)}"
            return [*_logged(job, command), f"{FILTER_LOGS}/filter.log"]
        case Stage.FILTER:
            return []  # the image's own command, which we cannot wrap because we do not know it
        case _:
            return list(stage_command.program_command(job, "python", f"{TASK_FOLDER}/{TASK_KEY}", VOLUME))


def _logged(job: StageJob, command: str) -> list[str]:
    """Wrap a shell command so that its output is kept in a file."""
    return ["sh", "-c", script("algorithm.sh"), job.stage.value, command, str(job.environment.publish.max_log_bytes)]


def _env(job: StageJob, base_name: str) -> list[dict[str, Any]]:
    if task := _task(job):
        return [
            {"name": name, "value": no_expansion(text)} for name, text in executor_pods.variables(job, task).items()
        ]
    # The root file system is read-only, and the user has no home in the image.
    variables = {"HOME": "/tmp"}  # noqa: S108 - an emptyDir of this Pod
    if _has_credentials(job.stage):
        variables["SLUICE_CREDENTIALS"] = CREDENTIALS_FOLDER
    if _delivers(job):
        variables["SLUICE_OUTPUT_CREDENTIALS"] = OUTPUT_CREDENTIALS_FOLDER
    if not job.stage.is_ours:
        variables |= stage_command.environment_variables(job, VOLUME)
    env: list[dict[str, Any]] = [{"name": name, "value": no_expansion(text)} for name, text in variables.items()]
    if not job.stage.is_ours:
        reference = {"secretKeyRef": {"name": base_name, "key": SECRET_KEY}}
        env.append({"name": "secret", "valueFrom": reference})
    return env


def _resources(job: StageJob) -> dict[str, str]:
    if job.stage.is_ours:
        return dict(_STAGING_LIMITS)
    limits = job.limits
    resources = {
        "cpu": format_cores(limits.cpu),
        "memory": format_quantity(limits.memory),
        "ephemeral-storage": format_quantity(limits.disk),
    }
    if limits.gpus and job.stage is Stage.ALGORITHM:
        resources[job.environment.gpu_resource] = str(limits.gpus)
    return resources


def _task(job: StageJob) -> TesTask | None:
    """The TES task, if the Job runs one of its executors."""
    return job.definition if job.stage is Stage.ALGORITHM and isinstance(job.definition, TesTask) else None


def _mounts(job: StageJob) -> list[dict[str, Any]]:
    if task := _task(job):
        return executor_pods.mounts(job, task)
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    if job.stage.is_ours:
        logs = {"name": "volume", "mountPath": f"{VOLUME}/{ADMIN_LOGS}", "subPath": ADMIN_LOGS}
        credentials = {"name": "credentials", "mountPath": CREDENTIALS_FOLDER, "readOnly": True}
        deliveries = {"name": "output-credentials", "mountPath": OUTPUT_CREDENTIALS_FOLDER, "readOnly": True}
        # The data are gone by the time of a release: it has an empty folder in their place.
        volume = [{"name": "volume", "mountPath": VOLUME, "subPath": "data"}, logs]
        return [
            *mounts,
            *([{"name": "volume", "mountPath": VOLUME}] if job.stage is Stage.RELEASE else volume),
            {"name": "task", "mountPath": TASK_FOLDER, "readOnly": True},
            *([credentials] if _has_credentials(job.stage) else []),
            *([deliveries] if _delivers(job) else []),
        ]
    mounts += [
        {"name": "volume", "mountPath": VOLUME, "subPath": "data", "readOnly": True},
        {"name": "volume", "mountPath": f"{VOLUME}/{OUTPUTS}", "subPath": f"data/{OUTPUTS}"},
        {"name": "volume", "mountPath": f"{VOLUME}/{LOGS}", "subPath": f"data/{LOGS}"},
    ]
    if job.stage is Stage.FILTER:
        mounts.append({"name": "volume", "mountPath": FILTER_LOGS, "subPath": FILTER_FOLDER})
    return mounts


def _volumes(job: StageJob, settings: Settings, base_name: str) -> list[dict[str, Any]]:
    claim: dict[str, Any] = {"persistentVolumeClaim": {"claimName": base_name}}
    if _task(job):  # its /tmp is a folder of the volume, too
        return [{"name": "volume", **claim}]
    volumes: list[dict[str, Any]] = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "volume", **({"emptyDir": {}} if job.stage is Stage.RELEASE else claim)},
    ]
    if not job.stage.is_ours:
        return volumes
    task = {"secretName": base_name, "items": [{"key": TASK_KEY, "path": TASK_KEY}], "defaultMode": 0o440}
    volumes.append({"name": "task", "secret": task})
    if _has_credentials(job.stage):
        name = settings.operator_secret if job.stage is Stage.CONFIGURE else settings.storage_secret
        # Optional: data behind plain URLs and a storage that recognises the Pod need no credentials.
        volumes.append(_credentials("credentials", name))
    if _delivers(job):
        volumes.append(_credentials("output-credentials", settings.tes_output_secret))
    return volumes


def _credentials(volume: str, secret: str) -> dict[str, Any]:
    return {"name": volume, "secret": {"secretName": secret, "optional": True, "defaultMode": 0o440}}


def _delivers(job: StageJob) -> bool:
    """Whether the stage writes outputs of a TES task to the URLs of its client."""
    return job.stage in (Stage.PUBLISH, Stage.RELEASE) and isinstance(job.definition, TesTask)


def _has_credentials(stage: Stage) -> bool:
    """Whether the stage fetches or stores. A check reads the algorithm's files, so it is given nothing to steal."""
    return stage.is_ours and stage is not Stage.CHECK
