"""Memory that control groups leave: both versions, groups in groups, and systems that tell nothing."""

from pathlib import Path

import pytest

from memalpha.up import cgroup


def two(group: Path, limit: str, taken: int, cached: int = 0) -> None:
    """A group of version 2."""
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{taken}\n")
    (group / "memory.stat").write_text(f"anon 7\nfile 9\ninactive_file {cached}\n")


def one(group: Path, limit: int, taken: int, cached: int = 0) -> None:
    """A group of version 1."""
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (group / "memory.usage_in_bytes").write_text(f"{taken}\n")
    (group / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {cached}\n")


def left(root: Path, *lines: str) -> int | None:
    own = root / "own"
    own.write_text("".join(f"{line}\n" for line in lines))
    return cgroup.left(root / "groups", own)


def test_a_limit_leaves_what_is_not_taken_and_what_is_given_back(tmp_path) -> None:
    two(tmp_path / "groups/box", "1000", 400, cached=150)
    assert left(tmp_path, "0::/box") == 750
    two(tmp_path / "groups/box", "1000", 1200)
    assert left(tmp_path, "0::/box") == 0


def test_the_tightest_of_the_groups_around_counts(tmp_path) -> None:
    two(tmp_path / "groups/slice", "1000", 900)
    two(tmp_path / "groups/slice/box", "800", 100)
    assert left(tmp_path, "0::/slice/box") == 100
    two(tmp_path / "groups/slice", "max", 900)
    assert left(tmp_path, "0::/slice/box") == 700
    two(tmp_path / "groups/slice/box", "max", 100)
    assert left(tmp_path, "0::/slice/box") is None


@pytest.mark.parametrize("path", ["/", "/docker/3f2a"])
def test_a_containers_group_is_at_the_root_whatever_it_is_called_outside(tmp_path, path) -> None:
    two(tmp_path / "groups", "1000", 400)
    assert left(tmp_path, f"0::{path}") == 600


def test_version_1_has_a_tree_for_memory(tmp_path) -> None:
    one(tmp_path / "groups/memory", 9223372036854771712, 5000)
    one(tmp_path / "groups/memory/box", 1000, 400, cached=50)
    two(tmp_path / "groups/box", "10", 0)
    assert left(tmp_path, "5:cpu,cpuacct:/box", "4:memory:/box", "1:name=systemd:/") == 650


def test_a_system_without_groups_sets_no_limit(tmp_path) -> None:
    assert left(tmp_path, "0::/box") is None
    assert cgroup.left(tmp_path, tmp_path / "none") is None
