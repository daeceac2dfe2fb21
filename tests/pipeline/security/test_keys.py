"""Key files, allow-lists and `dscsnet keys`."""

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zmq
from typer.testing import CliRunner

from dscsnet.pipeline.commands.keys import app
from dscsnet.pipeline.errors import KeyFileError
from dscsnet.pipeline.security import keys

ROOT = Path(__file__).parents[3]


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "dscsnet.pipeline", "keys", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_pair(tmp_path: Path) -> None:
    public, secret = keys.make_key("camera1", tmp_path / "keys")
    assert (public.name, secret.name) == ("camera1.key", "camera1.key_secret")
    assert (mode(public), mode(secret)) == (0o644, 0o600)
    pair = keys.read_secret(secret)
    assert keys.read_public(public) == pair.public == zmq.curve_public(pair.secret)
    assert pair.secret not in public.read_bytes()
    with pytest.raises(KeyFileError, match="is there already"):
        keys.make_key("camera1", tmp_path / "keys")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 65, "line\n"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="expected 1 to 64"):
        keys.make_key(name, tmp_path)
    with pytest.raises(KeyFileError, match="expected 1 to 64"):
        keys.revoke(name, "frames", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "\udcff\udcfe",
        'curve\n    public-key = "short"\n',
        f'curve\n    public-key = "{"~" * 40}"\n',
        f'curve\n    public-key = "{"#" * 40}"\n',
        "public-key",
    ],
)
def test_damaged_files_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "peer.key"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(KeyFileError, match=r"peer\.key: (damaged|holds no)") as caught:
        keys.read_public(path)
    assert "\n" not in str(caught.value)


def test_servers_are_tried_in_order_of_their_names(tmp_path: Path) -> None:
    names = ["mast", "bow", "zenith", "aft", "keel", "oar", "hull", "deck"]
    made = {name: keys.make_key(name, tmp_path)[0] for name in names}
    assert keys.read_servers(tmp_path) == [keys.read_public(made[name]) for name in sorted(names)]
    assert keys.read_servers(made["oar"]) == [keys.read_public(made["oar"])]
    (tmp_path / "none").mkdir()
    with pytest.raises(KeyFileError, match=r"no \.key file in this folder"):
        keys.read_servers(tmp_path / "none")


def test_rotation_keeps_the_former_pair(tmp_path: Path) -> None:
    first = keys.read_secret(keys.make_key("node", tmp_path)[1])
    for _ in range(2):  # the former pair's place may be taken
        before = keys.read_secret(tmp_path / "node.key_secret")
        public, old = keys.rotate_key("node", tmp_path)
        after = keys.read_secret(tmp_path / "node.key_secret")
        assert after.public == keys.read_public(public) != before.public
        assert keys.read_public(old) == before.public
        assert keys.read_secret(tmp_path / "node.old.key_secret") == before
    assert first.public not in (before.public, after.public)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("node.key", "node.key_secret", "node.old.key", "node.old.key_secret"),
    ]
    with pytest.raises(KeyFileError, match="cannot be read"):
        keys.rotate_key("nobody", tmp_path)


def test_an_allow_list_follows_its_folder(tmp_path: Path) -> None:
    public, _ = keys.make_key("camera", tmp_path)
    key = keys.read_public(public)
    keys.allow(public, "detections", tmp_path / "allowed")
    (tmp_path / "allowed" / "frames").mkdir()
    allowed = keys.AllowList(tmp_path / "allowed", "frames")
    assert key not in allowed
    assert allowed.other_role(key) == "detections"
    file, former = keys.allow(public, "frames", tmp_path / "allowed")
    assert key in allowed
    assert former is None
    keys.rotate_key("camera", tmp_path)
    file, former = keys.allow(public, "frames", tmp_path / "allowed")
    assert former == file.with_name("camera.old.key")
    assert key in allowed
    assert keys.read_public(public) in allowed
    assert keys.allow(public, "frames", tmp_path / "allowed")[1] is None  # twice is once
    keys.rotate_key("camera", tmp_path)
    with pytest.raises(KeyFileError, match=r"keys revoke camera\.old --role frames"):
        keys.allow(public, "frames", tmp_path / "allowed")
    keys.revoke("camera.old", "frames", tmp_path / "allowed")
    assert key not in allowed
    keys.allow(public, "frames", tmp_path / "allowed")


def test_broken_files_on_an_allow_list_matter_to_nobody_else(tmp_path: Path) -> None:
    public, _ = keys.make_key("camera", tmp_path)
    file, _ = keys.allow(public, "frames", tmp_path / "allowed")
    (file.parent / "broken.key").write_text("nonsense")
    (file.parent / "folder.key").mkdir()
    allowed = keys.AllowList(tmp_path / "allowed", "frames")
    assert keys.read_public(public) in allowed
    file.chmod(0o666)  # anybody may have put it there
    assert keys.read_public(public) not in allowed


def test_only_the_public_key_is_copied(tmp_path: Path) -> None:
    _, secret = keys.make_key("camera", tmp_path)
    file, _ = keys.allow(secret, "frames", tmp_path / "allowed")
    assert file.name == "camera.key"
    assert keys.read_secret(secret).secret not in file.read_bytes()


@pytest.mark.parametrize(
    ("owner", "reader", "accepted"),
    [
        *((0, 0, True), (0, 1000, True), (1000, 1000, True)),
        *((1000, 1001, False), (1, 1000, False), (1000, 0, False)),
    ],
)
def test_a_secret_belongs_to_its_reader_or_to_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, reader: int, accepted: bool
) -> None:
    """Whoever else owns the file can replace it, and so listen in. Root is no exception."""
    _, secret = keys.make_key("node", tmp_path)
    real = Path.stat

    def owned(path: Path, **options: bool) -> os.stat_result:
        fields = list(real(path, **options))
        fields[stat.ST_UID] = owner
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "stat", owned)
    monkeypatch.setattr(keys.os, "geteuid", lambda: reader)
    if accepted:
        assert keys.read_secret(secret).public == keys.read_public(tmp_path / "node.key")
    else:
        with pytest.raises(KeyFileError, match=r"node\.key_secret: belongs to another user"):
            keys.read_secret(secret)


NOBODY = 65534


@pytest.fixture
def not_root() -> Iterator[Path]:
    """A folder of a user who is not root; the test goes on as this user."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() != 0:
            yield Path(name)
            return
        os.chown(name, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def test_what_a_user_may_not_read_or_write_is_said_in_one_line(not_root: Path) -> None:
    """As root, every test of permissions would pass."""
    public, secret = keys.make_key("node", not_root / "keys")
    assert keys.read_secret(secret).public == keys.read_public(public)
    file, _ = keys.allow(public, "frames", not_root / "allowed")
    allowed = keys.AllowList(not_root / "allowed", "frames")
    assert keys.read_public(public) in allowed
    for path, act in (
        (secret, lambda: keys.read_secret(secret)),
        (public, lambda: keys.read_public(public)),
        (not_root / "keys", lambda: keys.make_key("other", not_root / "keys")),
        (file.parent, lambda: keys.revoke("node", "frames", not_root / "allowed")),
    ):
        mode_before = mode(path)
        path.chmod(0o000 if path.is_file() else 0o500)
        with pytest.raises(KeyFileError) as caught:
            act()
        path.chmod(mode_before)
        assert "Permission denied" in str(caught.value)
        assert "\n" not in str(caught.value)
    file.parent.chmod(0o000)
    assert keys.read_public(public) not in allowed  # what cannot be read allows nobody
    file.parent.chmod(0o755)
    assert keys.read_public(public) in allowed


def test_an_allow_list_is_read_by_one_thread_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader waits a moment for a second one, who would get here without the lock."""
    public, _ = keys.make_key("camera", tmp_path)
    key = keys.read_public(public)
    keys.allow(public, "frames", tmp_path / "allowed")
    allowed = keys.AllowList(tmp_path / "allowed", "frames")
    meeting, met = threading.Barrier(2), []
    usable = keys._usable_keys

    def wait_for_another(place: Path) -> Iterator[bytes]:
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(0.3)
            met.append(place)
        return usable(place)

    monkeypatch.setattr(keys, "_usable_keys", wait_for_another)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(allowed.__contains__, [key, key])) == [True, True]
    assert not met


def test_the_commands(tmp_path: Path) -> None:
    made = run("new", "camera1", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    secret = keys.read_secret(tmp_path / "keys" / "camera1.key_secret")
    steps = [
        made,
        run("show", "keys/camera1.key_secret", folder=tmp_path),
        run("allow", "keys/camera1.key", "--role", "frames", folder=tmp_path),
        run("rotate", "camera1", folder=tmp_path),
        run("allow", "keys/camera1.key", "--role", "frames", folder=tmp_path),
        run("list", folder=tmp_path),
        run("revoke", "camera1.old", "--role", "frames", folder=tmp_path),
    ]
    for step in steps:
        assert step.returncode == 0, step.stderr
        assert secret.secret.decode() not in step.stdout
    assert secret.public.decode() in steps[1].stdout
    assert "keys revoke camera1.old --role frames" in steps[4].stdout
    listed = steps[5].stdout
    assert listed.count("may connect: frames") == 2
    assert listed.count("key pair") == 2
    assert [file.name for _, file in keys.listed(tmp_path / "keys" / "allowed")] == ["camera1.key"]


def test_keys_are_listed_by_name(tmp_path: Path) -> None:
    names = ["mast", "bow", "zenith", "aft", "keel"]
    for name in names:
        public, _ = keys.make_key(name, tmp_path / "keys")
        keys.allow(public, "targets", tmp_path / "allowed")
    (tmp_path / "keys" / "keel.key_secret").unlink()
    (tmp_path / "keys" / "bow.key_secret").chmod(0o644)
    options = ["--folder", str(tmp_path / "keys"), "--allow", str(tmp_path / "allowed")]
    lines = CliRunner().invoke(app, ["list", *options]).output.splitlines()
    rows = [line.split()[0] for line in lines if line.split()[0] in names]
    assert rows == sorted(names) * 2
    assert sum("may connect: targets" in line for line in lines) == len(names)
    first = [line for line in lines if "public key only" in line]
    assert [line.split()[0] for line in first] == ["keel"]
    assert sum("key pair" in line for line in lines) == 3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("list",), "no keys in keys"),
        (("show", "none.key"), "none.key: cannot be read"),
        (("rotate", "none"), "none.key_secret: cannot be read"),
        (("revoke", "none", "--role", "frames"), "none.key: cannot be removed"),
        (("allow", "none.key", "--role", "camera"), 'role "camera": expected frames, detections'),
        (("new", "../x"), 'name "../x": expected'),
    ],
)
def test_errors_are_one_line(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    result = run(*arguments, folder=tmp_path)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert complaint in result.stderr


def test_commands_of_one_channel_refuse_half_a_security(tmp_path: Path) -> None:
    replay = [sys.executable, "-P", "-m", "dscsnet.pipeline", "replay", "x.npy"]
    for options, complaint in (
        (["--endpoint", "tcp://0.0.0.0:5550"], "--insecure"),
        (["--key", "k", "--server", "s"], "key and allow"),
        (["--allow", "a"], "need --key"),
    ):
        result = subprocess.run(
            [*replay, *options],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin", "COLUMNS": "1000"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 2
        assert complaint in result.stderr
