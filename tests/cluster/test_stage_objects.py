"""What the objects of each stage contain, and that Kubernetes accepts them."""

from __future__ import annotations

import shlex
from base64 import b64decode

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_validate.utils import validate
from msgspec.structs import replace
from support.clusters import stage_job
from support.stage_objects import DOCUMENT, EVERY, OWNER_UID, RICH, SETTINGS, container, make, objects, spec

from functions.cluster.kubernetes import job_manifests
from functions.cluster.ports import Rejected, StageJob
from functions.settings import Settings
from functions.workflow.document import parse
from functions.workflow.environment import Environment
from functions.workflow.model import Stage
from functions.workflow.quantity import format_cores, format_quantity, parse_quantity
from functions.workflow.stage_options import DeliveryOptions, FetchOptions, PublishOptions
from functions.workflow.stage_task import Task
from functions.workflow.tes_checks import accept


def test_the_task_file_holds_all_that_configure_and_publish_need() -> None:
    job = make(Stage.CONFIGURE)
    held = b64decode(job_manifests.secret(job, OWNER_UID)["data"]["task.json"])
    expected = Task(
        workflow=job.workflow,
        definition=job.definition,
        results=job.results,
        fetch=job.environment.fetch,
        publish=job.environment.publish,
    )
    assert msgspec.json.decode(held, type=Task) == expected


def test_a_stage_of_another_version_reads_a_task_file_that_uses_no_option_it_lacks() -> None:
    """During a rollout or after a rollback, an image without a new option reads the tasks of functions that know it."""
    written = msgspec.json.encode(Task(workflow="w1", definition=make(Stage.CONFIGURE).definition, results="s3://r"))
    for part, options in (("fetch", FetchOptions), ("publish", PublishOptions), ("deliver", DeliveryOptions)):
        for field in msgspec.structs.fields(options):
            earlier = msgspec.defstruct("Earlier", [(part, without(options, field.name), None)])
            msgspec.json.decode(written, type=earlier)


def without(options: type[msgspec.Struct], name: str) -> type[msgspec.Struct]:
    """The struct as a version had it that did not know the option yet; it refuses what it does not know, too."""
    fields = [(f.name, f.type, getattr(options(), f.name)) for f in msgspec.structs.fields(options) if f.name != name]
    return msgspec.defstruct("Earlier", fields, kw_only=True, forbid_unknown_fields=True, rename="camel")


@pytest.mark.parametrize("job", EVERY)
def test_kubernetes_accepts_every_object(job: StageJob) -> None:
    for made in objects(job):
        validate(made, "1.36", strict=True)


def test_kubernetes_accepts_an_executor_with_as_many_and_as_long_folders_as_a_task_may_have() -> None:
    folders = [f"/{n:0>3}/{'/'.join(['a' * 200] * 3)}" for n in range(199)]  # the last is /tmp
    body = {
        "executors": [{"image": "a", "command": ["x"]}],
        "inputs": [{"path": f"{f}/x", "content": "x"} for f in folders],
    }
    job = make(Stage.ALGORITHM, definition=accept(body).task)
    for made in objects(job):
        validate(made, "1.36", strict=True)
        assert len(msgspec.json.encode(made)) < 1 << 20  # etcd takes 1.5 MiB
    assert {*folders, "/tmp"} <= {mount["mountPath"] for mount in container(job)["volumeMounts"]}


# --- what each stage sees -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "own"),
    [(Stage.ALGORITHM, {}), (Stage.FILTER, {"/sluice": "adminlogs/filter"})],
    ids=["algorithm", "filter"],
)
def test_algorithm_and_filter_get_read_only_inputs_and_neither_admin_logs_nor_secret_files(
    stage: Stage, own: dict[str, str]
) -> None:
    job = make(stage, RICH)
    mounts = {mount["mountPath"]: mount for mount in container(job)["volumeMounts"]}
    writable = {path for path, mount in mounts.items() if not mount.get("readOnly")}
    assert writable == {"/tmp", "/data/outputs", "/data/logs", *own}
    assert {path: mount["subPath"] for path, mount in mounts.items() if "adminlogs" in str(mount)} == own
    assert not any("secret" in volume for volume in spec(job)["volumes"])


def test_each_of_our_stages_mounts_only_its_own_credentials_and_a_check_none() -> None:
    ours = [stage for stage in Stage if stage.is_ours]
    seen = {
        stage: {volume["secret"]["secretName"] for volume in spec(make(stage))["volumes"] if "secret" in volume}
        for stage in ours
    }
    base = job_manifests.base_name(make(Stage.CONFIGURE), OWNER_UID)
    assert seen == {
        Stage.CONFIGURE: {base, "sluice-operator"},
        Stage.CHECK: {base},
        Stage.PUBLISH: {base, "sluice-storage"},
        Stage.RELEASE: {base, "sluice-storage"},
    }
    for stage in ours:
        volumes = {volume["name"] for volume in spec(make(stage))["volumes"]}
        assert volumes == {mount["name"] for mount in container(make(stage))["volumeMounts"]}


@pytest.mark.parametrize("stage", Stage)
def test_no_stage_knows_the_database(stage: Stage) -> None:
    told = Settings(database_url="postgresql://u:pw@db/x", postgres_password="pw", operator_private_key="0xkey")
    made = yaml.safe_dump(job_manifests.stage_job(make(stage), OWNER_UID, told))
    assert not any(word in made for word in ("postgres", "pw", "0xkey"))


def test_oceans_secret_and_the_document_are_only_in_the_secret() -> None:
    job = make(Stage.CONFIGURE)
    others = yaml.safe_dump_all([made for made in objects(job) if made["kind"] != "Secret"])
    assert "s3cr3t" not in others
    assert "t0p" not in others


def test_one_object_owns_all_others() -> None:
    owner, *owned = objects(make(Stage.ALGORITHM))
    expected = [{"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": OWNER_UID}]
    assert [made["metadata"]["ownerReferences"] for made in owned] == [expected] * 3


def test_jobs_and_pods_have_the_labels_that_sources_and_policies_select() -> None:
    made = job_manifests.stage_job(make(Stage.FILTER, RICH, attempt=2), OWNER_UID, SETTINGS)
    wanted = {"app", "workflow", "component", "attempt", "app.kubernetes.io/managed-by"}
    for labels in (made["metadata"]["labels"], made["spec"]["template"]["metadata"]["labels"]):
        assert wanted <= set(labels)
        assert (labels["component"], labels["attempt"]) == ("filter", "2")


def test_the_algorithm_gets_oceans_variables() -> None:
    env = {variable["name"]: variable.get("value") for variable in container(make(Stage.ALGORITHM))["env"]}
    assert (
        env.items()
        >= {
            "DIDS": '["aa", "1"]',
            "TRANSFORMATION_DID": "bb",
            "VOLUME": "/data",
            "LOGS": "/data/logs",
            "INPUTS": "/data/inputs",
            "OUTPUTS": "/data/outputs",
            "secret": None,
        }.items()
    )


def test_the_path_of_the_algorithm_replaces_algo_in_its_command() -> None:
    assert container(make(Stage.ALGORITHM))["command"][4] == "python3 /data/transformations/algorithm"


def test_an_image_with_a_checksum_is_pulled_by_digest() -> None:
    document = msgspec.json.decode(msgspec.json.encode(DOCUMENT))
    document["stages"][0]["algorithm"]["container"]["checksum"] = "sha256:" + "a" * 64
    made = container(make(Stage.ALGORITHM, definition=parse(document)))
    assert made["image"] == "python@sha256:" + "a" * 64


def test_only_the_algorithm_gets_gpus() -> None:
    asked = {stage: container(make(stage, RICH))["resources"]["limits"].get("nvidia.com/gpu") for stage in Stage}
    assert asked == {**dict.fromkeys(Stage), Stage.ALGORITHM: "2"}


def test_the_wrapper_runs_a_filters_command_unchanged() -> None:
    environment = Environment(id="e", filter_image="filter:1", filter_command=("/filter", "a b", "$HOME"))
    shell, option, script, _, command, cap, log = container(make(Stage.FILTER, environment))["command"]
    assert (shell, option, cap, log) == ("sh", "-c", str(10 << 20), "/sluice/filter.log")
    assert script == container(make(Stage.ALGORITHM))["command"][2]
    assert shlex.split(command.splitlines()[-1]) == ["/filter", "a b", "$$HOME"]  # Kubernetes makes `$` of `$$`


def test_a_filter_without_a_command_runs_its_images_own() -> None:
    assert "command" not in container(make(Stage.FILTER, Environment(id="e", filter_image="filter:1")))


def test_the_deadline_of_a_job_is_the_time_limit_of_its_stage_plus_the_wait_for_a_start() -> None:
    seconds = {s: job_manifests.stage_job(make(s), OWNER_UID, SETTINGS)["spec"]["activeDeadlineSeconds"] for s in Stage}
    assert seconds[Stage.ALGORITHM] == 90 + 600
    assert {seconds[s] for s in Stage if s is not Stage.ALGORITHM} == {3600 + 600}


def test_only_our_own_programs_run_again_after_a_disruption() -> None:
    """An algorithm runs once: a second run would find what the first has half-written."""
    drained = [{"type": "DisruptionTarget", "status": "True"}]
    actions = {}
    for stage in Stage:
        rules = job_manifests.stage_job(make(stage), OWNER_UID, SETTINGS)["spec"]["podFailurePolicy"]["rules"]
        [actions[stage]] = [rule["action"] for rule in rules if rule.get("onPodConditions") == drained]
    ignored = {stage for stage, action in actions.items() if action == "Ignore"}
    assert ignored == {Stage.CONFIGURE, Stage.CHECK, Stage.PUBLISH, Stage.RELEASE}
    assert {actions[stage] for stage in Stage if stage not in ignored} == {"FailJob"}


def test_a_node_is_not_removed_under_a_program_that_is_never_run_twice() -> None:
    asked = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
    for stage in Stage:
        (*_, job) = objects(replace(make(stage), traceparent="00-1-2-01"))
        found = job["spec"]["template"]["metadata"]["annotations"]
        assert (found.items() >= asked.items()) is not stage.is_ours, stage
        assert found[job_manifests.TRACE_ANNOTATION] == "00-1-2-01"
        assert not job["metadata"]["annotations"].keys() & asked.keys()


def test_a_name_that_kubernetes_would_refuse_is_rejected() -> None:
    job_manifests.stage_job(stage_job("w" * 40), OWNER_UID, SETTINGS)
    with pytest.raises(Rejected, match="63") as refused:
        job_manifests.stage_job(stage_job("w" * 52), OWNER_UID, SETTINGS)
    assert refused.value.final


@given(st.floats(0.001, 1000))
def test_cores_are_written_in_thousandths(value: float) -> None:
    text = format_cores(value)
    written = float(text[:-1]) / 1000 if text.endswith("m") else float(text)
    assert abs(written - value) <= 0.0005 + 1e-9


@given(st.floats(1e-9, 0.001))
def test_a_tiny_number_of_cores_is_never_written_as_zero(value: float) -> None:
    assert format_cores(value) == "1m"


@given(st.integers(1, 10**15 - 1))
def test_quantities_are_exact(size: int) -> None:
    assert parse_quantity(format_quantity(size)) == size
