"""The limits of a download: bytes, files, time, and the room on the volume."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from support.configuring import LOOPBACK, Configure, task_of
from support.datahost import DataHost, File, Held, Pattern, endless

MB = 1 << 20


@pytest.mark.parametrize("limit", [{"max_bytes": MB}, {"max_files": 1}], ids=["bytes in all", "files in all"])
def test_data_above_the_environments_limits_is_refused(
    configure: Configure, host: DataHost, limit: dict[str, int]
) -> None:
    host.routes |= {"/a": File(Pattern(MB - 10)), "/b": File(Pattern(MB - 10))}
    outcome = configure({"url": [f"{host.url}/a", f"{host.url}/b"]}, options=replace(LOOPBACK, **limit))
    assert (outcome.code, outcome.reason) == (31, "DataTooLarge")


def test_a_file_announced_as_too_large_is_not_downloaded(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = File(Pattern(1 << 40))
    outcome = configure({"url": f"{host.url}/a"})
    assert outcome.reason == "DataTooLarge"
    assert outcome.progress is not None
    assert outcome.progress.bytes == 0


def test_the_limit_holds_if_no_size_is_announced(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = endless
    assert configure({"url": f"{host.url}/a"}, options=replace(LOOPBACK, max_bytes=MB)).reason == "DataTooLarge"


def test_the_time_of_all_downloads_together_is_limited(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = lambda request: request.answer(503, Retry_After="3600")
    outcome = configure({"url": f"{host.url}/a"}, options=replace(LOOPBACK, seconds=0))
    assert outcome.message == "DataUnavailable: inputs/0/0: not fetched within 0 seconds"


def test_a_full_volume_is_noticed_before_the_download(
    configure: Configure, host: DataHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Volume:
        f_bavail, f_frsize = 2, MB

    monkeypatch.setattr("os.statvfs", lambda path: Volume)
    host.routes["/a"] = File(Pattern(3 * MB))
    outcome = configure({"url": f"{host.url}/a"})
    assert outcome.reason == "DiskFull"
    assert outcome.progress is not None
    assert outcome.progress.bytes == 0


def test_a_volume_that_fills_up_during_a_download_fails_with_disk_full(
    configure: Configure, host: DataHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(draft: Path, target: Path) -> None:
        if "inputs" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        os.rename(draft, target)

    monkeypatch.setattr("os.replace", full)
    host.routes["/a"] = File(Held(b"one"))
    outcome = configure({"url": f"{host.url}/a"})
    assert (outcome.code, outcome.message) == (31, "DiskFull: inputs/0/0: the volume is full")


_ON_A_SMALL_DISK = """
mount -t tmpfs -o size=4m none "$1" && mkdir "$1/data" && cp "$2" "$1/task.json" || exit 99
TERMINATION_LOG="$1/message" "$3" -m functions.staging.configure --task "$1/task.json" --volume "$1/data"
echo "$?" && cat "$1/message"
"""


def test_a_full_disk_leaves_room_for_the_message_that_says_so(host: DataHost, tmp_path: Path) -> None:
    """As on a laptop, where the volume and the termination message share one disk."""
    host.routes["/a"] = endless
    (tmp_path / "disk").mkdir()
    (tmp_path / "task.json").write_bytes(msgspec.json.encode(task_of([{"url": f"{host.url}/a"}])))
    places = [str(tmp_path / "disk"), str(tmp_path / "task.json"), sys.executable]
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    command = [*namespace, "sh", "-c", _ON_A_SMALL_DISK, "sh", *places]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode == 99 or "unshare" in ended.stderr:
        pytest.skip("this user may not mount")
    assert ended.stdout == "31\nDiskFull: inputs/0/0: the volume is full"
