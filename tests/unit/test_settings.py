"""Settings of the installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from magflow.errors import InputError
from magflow.settings import load_settings


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("ABINIT_COMMAND", "CACHE_DIR", "DATASET_DIRS", "SCRATCH_DIR", "MPIRUN_COMMAND", "MONGO_URI"):
        monkeypatch.delenv(f"MAGFLOW_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_defaults(home):
    settings = load_settings()
    assert settings.abinit_command == "abinit"
    assert settings.scratch_dir is None
    assert settings.expanded_dataset_dirs()[-1] == home / ".magflow" / "datasets"


def test_file_then_environment_then_arguments(home, monkeypatch):
    (home / ".magflow.yaml").write_text("abinit_command: from-file\nscratch_dir: /fast\n")
    assert load_settings().abinit_command == "from-file"
    monkeypatch.setenv("MAGFLOW_ABINIT_COMMAND", "from-environment")
    assert load_settings().abinit_command == "from-environment"
    assert load_settings(abinit_command="given").abinit_command == "given"
    assert load_settings().scratch_dir == Path("/fast")


def test_unrelated_variables_do_not_matter(monkeypatch):
    monkeypatch.setenv("MAGFLOW_REFERENCE_DATA", "/elsewhere")
    assert load_settings().abinit_command == "abinit"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("abinit_comand: x\n", "abinit_comand"),
        ("abinit_command: [1, 2]\n", "abinit_command"),
        ("- a\n- b\n", "not a mapping"),
        ("a: [unclosed\n", "no YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", "no YAML"),
        ("abinit_command: a\nabinit_command: b\n", "no YAML"),
    ],
)
def test_bad_file(home, text, says):
    (home / ".magflow.yaml").write_text(text)
    with pytest.raises(InputError, match=says):
        load_settings()


def test_bad_environment(monkeypatch):
    monkeypatch.setenv("MAGFLOW_DATASET_DIRS", "not json")
    with pytest.raises(InputError, match="dataset_dirs"):
        load_settings()


def test_empty_file_is_fine(home):
    (home / ".magflow.yaml").write_text("# nothing yet\n")
    assert load_settings().mpirun_command == "mpirun"


def test_a_settings_file_with_a_password_is_for_its_owner_alone(home, monkeypatch):
    file = home / ".magflow.yaml"
    file.write_text("mongo_uri: mongodb://magnus:correct-horse@h/db\n")
    file.chmod(0o644)
    with pytest.raises(InputError, match="others may read") as caught:
        load_settings()
    assert "correct-horse" not in str(caught.value)
    assert "chmod 600" in caught.value.hint
    file.chmod(0o600)
    settings = load_settings()
    assert settings.mongo_uri.get_secret_value().startswith("mongodb://magnus:")
    assert "correct-horse" not in repr(settings)
    monkeypatch.setenv("MAGFLOW_MONGO_URI", "mongodb://other/db")
    assert load_settings().mongo_uri.get_secret_value() == "mongodb://other/db"
