"""The platform: its ports, its folder, its settings and its isolation."""

from __future__ import annotations

import http.client
import http.server
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from support.laptop import API, Client, Laptop, document

from functions.ethereum import address
from functions.local.http_server import PortTaken
from functions.local.isolation import Isolation
from functions.local.platform import Platform, PlatformError

pytestmark = pytest.mark.xdist_group("laptop")


def test_only_loopback_is_bound(laptop: Laptop) -> None:
    assert laptop._process is not None
    listening = _listening(laptop._process.pid)
    assert len(listening) == 5  # the gateway, the broker, three functions
    assert all(address.startswith("0100007F:") for address in listening)


def test_every_port_refuses_pages_of_other_sites(laptop: Laptop) -> None:
    assert laptop._process is not None
    ports = {int(address.split(":")[1], 16) for address in _listening(laptop._process.pid)}
    for port in ports:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", f"{API}/compute", b"{}", {"Origin": "http://elsewhere.example"})
        assert connection.getresponse().status == 403
        connection.close()


def _listening(pid: int) -> list[str]:
    """Local addresses of a process's listening sockets, as /proc/net/tcp writes them; none may be of IPv6."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()]
    return [fields[1] for fields in lines if fields[3] == "0A" and fields[9] in inodes]


def test_the_gateway_does_not_forward_to_event_endpoints(laptop: Laptop) -> None:
    for path in ("/dead-letters", "/advance"):
        assert laptop.call("POST", path, {})[0] == 404


def test_the_gateway_tells_that_requests_are_served(laptop: Laptop) -> None:
    assert laptop.call("GET", "/healthz", {}) == (200, b'{"status": "ok"}')


def test_a_second_platform_on_the_same_folder_is_refused(laptop: Laptop) -> None:
    with (
        pytest.raises(PlatformError, match=r"another Sluice.*stop it, or choose another folder"),
        Platform(laptop.folder),
    ):
        pass


def test_a_used_port_is_reported_and_leaves_the_folder_unlocked(laptop: Laptop, tmp_path: Path) -> None:
    port = int(laptop.url.rsplit(":", 1)[1])
    with pytest.raises(PortTaken, match=f"port {port}"), Platform(tmp_path / "sluice", port=port):
        pass
    with Platform(tmp_path / "sluice"):
        pass


def test_isolation_can_be_required(open_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.local.platform.probe", lambda: Isolation.NETWORK)
    with (
        pytest.raises(PlatformError, match="needs a full sandbox"),
        Platform(open_path, require_isolation=True),
    ):
        pass
    with Platform(open_path) as platform:
        assert platform.isolation is Isolation.NETWORK


def test_the_platform_restores_the_environment_and_ignores_database_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere/else")
    before = dict(os.environ)
    with Platform(tmp_path) as platform:
        assert os.environ["DATABASE_URL"].startswith("sqlite:///")
        assert Client(platform.url).call("GET", f"{API}/environments")[0] == 200
    assert dict(os.environ) == before


def test_an_app_with_earlier_settings_is_discarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from functions.engine.app import current_app

    monkeypatch.delenv("DATABASE_URL", raising=False)
    current_app.cache_clear()
    assert current_app().settings.database_url == ""
    with Platform(tmp_path) as platform:
        assert Client(platform.url).call("GET", f"{API}/environments")[0] == 200


def test_a_folder_behind_an_absolute_link_works(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    laptop = Laptop(tmp_path / "link" / "sluice")
    laptop.start()
    try:
        job = laptop.submit(document("echo 1 > $OUTPUTS/one"))
        assert laptop.finished(job)["status"] == 70
        assert laptop.result(job, "one") == b"1\n"
    finally:
        laptop.kill_everything()


def test_the_environment_announces_the_address_of_a_key_that_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPERATOR_PRIVATE_KEY", "OPERATOR_PRIVATE_KEY_FILE", "OPERATOR_ADDRESS", "SLUICE_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    announced = []
    for _ in range(2):
        with Platform(tmp_path) as platform:
            assert platform.key_file is not None
            assert platform.key_file.stat().st_mode & 0o777 == 0o600
            (environment,) = json.loads(Client(platform.url).call("GET", f"{API}/environments")[1])
            assert environment["consumerAddress"] == platform.consumer_address
            assert address(platform.key_file.read_text().strip()) == platform.consumer_address
            announced.append(platform.consumer_address)
    assert announced[0] == announced[1]


def test_an_operators_own_key_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "0x" + "11" * 32
    monkeypatch.setenv("OPERATOR_PRIVATE_KEY", key)
    with Platform(tmp_path) as platform:
        assert platform.key_file is None
        assert platform.consumer_address == address(key)


def test_root_needs_a_folder_that_the_user_of_algorithms_can_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.local.platform.probe", lambda: Isolation.NONE)
    monkeypatch.setattr("functions.local.launch_spec.algorithm_user", lambda: (65534, 65534))
    tmp_path.chmod(0o700)
    with pytest.raises(PlatformError, match="choose a folder with --dir"), Platform(tmp_path / "sluice"):
        pass
