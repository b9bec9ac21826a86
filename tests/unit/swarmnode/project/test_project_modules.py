"""What of a project is importable as if it were installed where it lies."""

from pathlib import Path

import pytest

from swarmnode.project.itself.about import modules_in

BUILT = '[build-system]\nrequires = ["hatchling"]\n[project]\nname = "tool"\n'


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"pyproject.toml": BUILT, "src/tool/__init__.py": ""}, "src"),
        ({"setup.py": "", "src/tool/__init__.py": ""}, "src"),
        ({"pyproject.toml": BUILT, "tool/__init__.py": "", "tests/test_a.py": ""}, ""),
        ({"setup.cfg": "", "tool/__init__.py": ""}, ""),
        ({"src/tool/__init__.py": ""}, None),
        ({"pyproject.toml": "[tool.ruff]\n", "tool/__init__.py": ""}, None),
        ({"pyproject.toml": BUILT, "tests/__init__.py": "", "train.py": ""}, None),
        ({"pyproject.toml": BUILT, "tool/__init__.py": "", "random.py": ""}, None),
        ({"pyproject.toml": BUILT, "tool/__init__.py": "", "types/__init__.py": ""}, None),
        ({"tool/__init__.py": "", "requirements.txt": "x"}, None),
    ],
)
def test_modules_are_where_an_install_would_find_them(
    tmp_path: Path, files: dict[str, str], place: str | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert modules_in(tmp_path) == place
