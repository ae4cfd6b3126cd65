"""The folders that configure writes for the algorithm, and the reasons of its failures."""

import hashlib

import pytest
from msgspec.structs import replace
from support.configuring import LOOPBACK, Configure
from support.datahost import DataHost, File, Held, Pattern

from functions.staging.configure.download_plan import Planner
from functions.workflow.progress_line import Progress


def test_configure_writes_the_folders_of_oceans_contract(configure: Configure, host: DataHost) -> None:
    host.routes |= {"/a": File(Held(b"one")), "/b": File(Held(b"two")), "/c": File(Held(b"three"))}
    outcome = configure(
        {"id": "did:op:aa", "url": [f"{host.url}/a", f"{host.url}/b"]},
        {"index": 1, "url": f"{host.url}/c"},
        algorithm={"rawcode": "print(1)", "algocustomdata": {"depth": 3}},
    )
    assert (outcome.code, outcome.reason) == (0, "Completed")
    assert outcome.read("inputs/aa/0") == b"one"
    assert outcome.read("inputs/aa/1") == b"two"
    assert outcome.read("inputs/1/0") == b"three"
    assert outcome.json("inputs/algoCustomData.json") == {"depth": 3}
    assert outcome.read("transformations/algorithm") == b"print(1)"
    assert {"ddos", "outputs", "logs", "adminlogs"} <= set(outcome.tree())
    assert not [name for name in outcome.tree() if name.startswith(".")]


@pytest.mark.parametrize(("given", "written"), [({"algocustomdata": None}, True), ({}, False)])
def test_custom_data_is_written_if_its_key_is_present_even_with_null(
    configure: Configure, given: dict[str, None], written: bool
) -> None:
    outcome = configure(algorithm={"rawcode": "1", **given})
    assert ("inputs/algoCustomData.json" in outcome.tree()) is written


def test_another_user_of_the_same_group_can_write_outputs_and_logs_and_read_the_rest(
    configure: Configure, host: DataHost
) -> None:
    host.routes["/a"] = File(Held(b"one"))
    volume = configure({"url": f"{host.url}/a"}).volume
    assert {(volume / name).stat().st_mode & 0o777 for name in ("outputs", "logs")} == {0o775}
    assert (volume / "inputs/0/0").stat().st_mode & 0o777 == 0o644
    assert (volume / "transformations/algorithm").stat().st_mode & 0o777 == 0o755


def test_records_size_and_hash_of_every_file_but_not_where_the_data_lies(configure: Configure, host: DataHost) -> None:
    host.routes |= {"/secret-place": File(Held(b"one")), "/algorithm.py": File(Held(b"two"))}
    outcome = configure({"url": f"{host.url}/secret-place"}, algorithm={"url": f"{host.url}/algorithm.py"})
    files = outcome.json("provenance.json")["files"]
    assert [(f["path"], f["source"], f["size"]) for f in files] == [
        ("inputs/0/0", "http", 3),
        ("transformations/algorithm", "http", 3),
    ]
    assert files[0]["sha256"] == hashlib.sha256(b"one").hexdigest()
    assert "secret-place" not in outcome.read("provenance.json").decode()


def test_the_provenance_lists_everything_that_the_algorithm_gets(configure: Configure, host: DataHost) -> None:
    host.routes |= {"/a": File(Held(b"one")), "/api/aquarius/assets/ddo/did:op:aa": File(Held(b'{"id": "did:op:aa"}'))}
    outcome = configure(
        {"id": "did:op:aa", "url": f"{host.url}/a"},
        algorithm={"rawcode": "1", "algocustomdata": {"depth": 3}},
        output={"metadataUri": host.url},
    )
    listed = outcome.json("provenance.json")["files"]
    assert [(file["path"], file["source"]) for file in listed] == [
        ("ddos/aa", "metadata"),
        ("inputs/aa/0", "http"),
        ("inputs/algoCustomData.json", "workflow"),
        ("transformations/algorithm", "rawcode"),
    ]
    for file in listed:
        content = outcome.read(file["path"])
        assert (file["size"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


def test_an_algorithm_may_have_several_files_with_a_checksum_each(configure: Configure, host: DataHost) -> None:
    host.routes |= {"/main.py": File(Held(b"one")), "/lib.py": File(Held(b"two"))}
    urls = [f"{host.url}/main.py", f"{host.url}/lib.py"]
    sums = [hashlib.sha256(each).hexdigest() for each in (b"one", b"two")]
    outcome = configure(algorithm={"url": urls, "checksum": sums})
    assert outcome.code == 0, outcome.message
    assert outcome.read("transformations/algorithm") == b"one"
    assert outcome.read("transformations/1") == b"two"
    assert (outcome.volume / "transformations/algorithm").stat().st_mode & 0o111
    assert configure(algorithm={"url": urls, "checksum": sums[::-1]}).reason == "ChecksumMismatch"


def test_progress_ends_with_all_files_and_bytes(configure: Configure, host: DataHost) -> None:
    host.routes |= {"/a": File(Pattern(700_000)), "/b": File(Pattern(300_000))}
    outcome = configure({"url": [f"{host.url}/a", f"{host.url}/b"]})
    assert outcome.progress == Progress(3, 3, 1_000_001, 1_000_001)


@pytest.mark.parametrize(
    ("inputs", "algorithm", "code", "reason"),
    [
        ([{"url": "GONE"}], {"rawcode": "1"}, 31, "DataUnavailable"),
        ([], {"url": "GONE"}, 32, "AlgorithmUnavailable"),
        ([{"url": "GONE"}], {"url": "GONE"}, 31, "DataUnavailable"),
        ([{"url": "THERE", "checksum": "0" * 64}], {"rawcode": "1"}, 31, "ChecksumMismatch"),
        ([], {"rawcode": "1", "checksum": "0" * 64}, 32, "ChecksumMismatch"),
        ([{"id": "../../etc", "url": "THERE"}], {"rawcode": "1"}, 31, "InvalidDocument"),
        ([{"id": "algoCustomData.json", "url": "THERE"}], {"rawcode": "1"}, 31, "InvalidDocument"),
        ([], {"id": "../../etc", "rawcode": "1"}, 32, "InvalidDocument"),
        ([{"url": "FORBIDDEN"}], {"rawcode": "1"}, 31, "DataForbidden"),
        ([], {"url": "FORBIDDEN"}, 32, "AlgorithmForbidden"),
        ([], {"url": "LARGE"}, 32, "AlgorithmTooLarge"),
    ],
)
def test_a_failure_has_oceans_code_and_a_reason(
    configure: Configure,
    host: DataHost,
    inputs: list[dict[str, str]],
    algorithm: dict[str, str],
    code: int,
    reason: str,
) -> None:
    host.routes["/there"] = File(Held(b"x"))
    host.routes["/large"] = File(Pattern(1 << 40))
    urls = {"GONE": f"{host.url}/gone", "THERE": f"{host.url}/there", "LARGE": f"{host.url}/large"}
    urls["FORBIDDEN"] = f"{host.url.replace('http:', 'https:')}/there"
    filled = [{k: urls.get(v, v) for k, v in each.items()} for each in (*inputs, algorithm)]
    options = replace(LOOPBACK, schemes=("http",))
    outcome = configure(*filled[:-1], algorithm=filled[-1], options=options)
    assert (outcome.code, outcome.reason) == (code, reason)


def test_the_right_checksum_passes_with_and_without_its_prefix(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = File(Held(b"one"))
    digest = hashlib.sha256(b"one").hexdigest()
    url = f"{host.url}/a"
    assert configure({"url": [url, url], "checksum": [digest.upper(), f"sha256:{digest}"]}).code == 0


def test_a_file_with_the_wrong_checksum_does_not_appear(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = File(Held(b"one"))
    outcome = configure({"url": f"{host.url}/a", "checksum": "0" * 64})
    assert not [name for name in outcome.tree() if name.startswith("inputs/0/")]


def test_no_message_contains_passwords_or_query_strings(
    configure: Configure, host: DataHost, caplog: pytest.LogCaptureFixture
) -> None:
    host.routes["/a"] = File(Held(b"one"))
    address = host.url.replace("://", "://user:hunter2@")
    with caplog.at_level("INFO"):
        good = configure({"url": f"{address}/a?token=hunter3"}).everything_told()
        bad = configure({"url": f"{address}/gone?token=hunter3"})
    assert bad.code == 31
    assert "hunter" not in good + bad.everything_told() + caplog.text


def test_a_second_run_leaves_nothing_of_the_first(configure: Configure, host: DataHost) -> None:
    host.routes |= {"/a": File(Held(b"one")), "/b": File(Held(b"two"))}
    configure({"id": "did:op:other", "url": [f"{host.url}/a", f"{host.url}/b"]})
    outcome = configure({"id": "did:op:aa", "url": f"{host.url}/b"})
    assert [name for name in outcome.tree() if name.startswith("inputs")] == ["inputs", "inputs/aa", "inputs/aa/0"]
    assert outcome.read("inputs/aa/0") == b"two"


@pytest.mark.parametrize(("stage", "code"), [("input", 31), ("algorithm", 32)])
def test_an_unexpected_error_is_a_final_failure_of_its_part(
    configure: Configure, host: DataHost, monkeypatch: pytest.MonkeyPatch, stage: str, code: int
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr(Planner, stage, broken)
    host.routes["/a"] = File(Held(b"one"))
    outcome = configure({"url": f"{host.url}/a"})
    assert (outcome.code, outcome.reason) == (code, "InternalError")
    assert "hunter2" not in outcome.everything_told()


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_an_error_of_the_machine_is_left_to_another_attempt(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(Planner, "algorithm", broken)
    with pytest.raises(type(error)):
        configure()
