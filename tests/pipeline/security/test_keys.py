"""Key files, allow-lists and `dscsnet keys`."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

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
