"""The arrows between the rooms point one way, and the door shows what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from architecture import (
    circles,
    defines_modes,
    files_imported,
    names_imported,
    pushes_modes,
    read_tree,
    replaces_forward,
    room_of,
    rooms_imported,
    sets_module_hooks,
    sets_tensor_hooks,
    switches_compiled_code_off,
)

import seewhy

TREE = read_tree(Path(seewhy.__file__).parent)

MAY_IMPORT = {
    # What stands alone.
    "errors": set(),
    "one_line": set(),
    "option": set(),
    "precision": set(),
    "progress": set(),
    "signatures": set(),
    "version": set(),
    "scaling": {"errors"},
    "boxes": {"errors"},
    "images": {"signatures", "errors"},
    # How a result is written: a picture, or data that can be read back.
    "saving": {"errors"},
    # Formulas and measures know nothing of models; a method's value looks its needs up.
    "methods": {"evidence", "option", "scaling", "errors"},
    "metrics": {"boxes", "scaling", "errors"},
    "targets": {"errors"},
    # Pictures and pages are drawn from plain values: no result is imported, not even as a type.
    "render": {"saving", "errors"},
    "report": {"render", "errors"},
    # Models are watched, and asked for what methods need.
    "models": {"images", "one_line", "precision", "progress", "signatures", "errors"},
    "layers": {"models", "errors"},
    "meaning": {"models", "targets", "precision", "errors"},
    "evidence": {"meaning", "models", "targets", "precision", "errors"},
    "request": {"methods", "layers", "models", "errors"},
    "attribution": {
        "request", "evidence", "meaning", "models", "methods", "targets", "layers", "errors",
    },
    "tiles": {"attribution", "models", "targets", "errors"},
    # Results, and who makes them.
    "explanation": {
        "images", "targets", "boxes", "render", "saving", "one_line", "errors",
    },
    "explainer": {
        "explanation", "request", "attribution", "methods", "models", "targets", "layers",
        "images", "one_line", "progress", "version", "errors",
    },
    "features": {
        "explainer", "meaning", "precision", "models", "targets", "layers", "images", "render",
        "one_line", "saving", "errors",
    },
    "concepts": {
        "explainer", "explanation", "meaning", "precision", "models", "methods", "targets",
        "layers", "images", "render", "one_line", "saving", "errors",
    },
    "comparison": {
        "explainer", "explanation", "methods", "models", "layers", "images", "render",
        "one_line", "saving", "targets", "errors",
    },
    # Data sets.
    "dataset": {"targets", "boxes", "saving", "images", "one_line", "errors"},
    "labels": {"boxes", "dataset"},
    # Many pictures: shards of a manifest, explained by workers that may die.
    "memory": set(),
    "runs": {
        "boxes", "dataset", "errors", "explainer", "explanation", "images", "memory", "methods",
        "models", "one_line", "render", "saving", "signatures", "targets", "version",
    },
    "evaluation": {
        "explainer", "meaning", "request", "attribution", "metrics", "dataset", "models", "methods",
        "targets", "layers", "images", "boxes", "saving", "one_line", "precision", "render",
        "progress", "report", "version", "errors",
    },
    # The two faces: the package's public names, and the program.
    "__init__": {
        "attribution", "comparison", "concepts", "dataset", "errors", "evaluation",
        "explainer", "explanation", "features", "images", "methods", "metrics", "models",
        "render", "runs", "scaling", "targets", "tiles", "version",
    },
    "cli": {
        "comparison", "concepts", "dataset", "saving", "errors", "evaluation", "explainer",
        "explanation", "features", "labels", "layers", "memory", "methods", "metrics", "models",
        "option", "progress", "one_line", "render", "runs", "signatures", "targets", "version",
    },
    "__main__": {"cli"},
}  # fmt: skip
"""Which other rooms a room's files may import. Every folder and file at the top level is one."""

# Who may reach into a model, or into how torch runs.
MODULE_HOOKS = {"models/undisturbed.py"}
TENSOR_HOOKS = {"models/bias_gradients.py", "models/relu_rules.py"}  # they die with the graph
SWITCHED_FORWARDS = {"models/rerun.py"}
EAGER = {"models/undisturbed.py"}
MODES_DEFINED = {"models/undisturbed.py"}
MODES_PUSHED = {
    "models/attending.py",  # this and the next two say what a mode sees
    "models/bias_gradients.py",
    "models/relu_rules.py",
    "models/attention.py",
    "evidence/first_run.py",
    "evidence/pixels.py",
}


def unlisted(tree, table=MAY_IMPORT):
    """Rooms and arrows that the table does not know, in words."""
    found = []
    for room, imported in sorted(rooms_imported(tree).items()):
        if room not in table:
            found.append(f"room '{room}' is not in MAY_IMPORT; it imports {sorted(imported)}")
        elif imported - table[room]:
            found.append(f"room '{room}' imports {sorted(imported - table[room])}")
    gone = sorted(set(table) - {room_of(path) for path in tree})
    return found + [f"room '{room}' is in MAY_IMPORT and not there" for room in gone]


def closed(tree, table=MAY_IMPORT):
    """Circles, in words."""
    found = [f"MAY_IMPORT allows a circle: {', '.join(one)}" for one in circles(table)]
    found += [f"files in a circle: {', '.join(one)}" for one in circles(files_imported(tree))]
    found += [f"rooms in a circle: {', '.join(one)}" for one in circles(rooms_imported(tree))]
    return found


def reaching(tree):
    """Who does what to models, and who does it without being listed."""
    listed = [
        (sets_module_hooks, MODULE_HOOKS),
        (sets_tensor_hooks, TENSOR_HOOKS),
        (replaces_forward, SWITCHED_FORWARDS),
        (switches_compiled_code_off, EAGER),
        (defines_modes, MODES_DEFINED),
        (pushes_modes, MODES_PUSHED),
    ]
    return {who.__name__: who(tree) ^ files for who, files in listed if who(tree) != files}


def test_every_room_is_known_and_the_arrows_point_one_way() -> None:
    assert not unlisted(TREE)


def test_there_are_no_circles() -> None:
    assert not closed(TREE)


def test_only_the_files_listed_reach_into_a_model() -> None:
    assert not reaching(TREE)


@pytest.mark.parametrize("path", [path for path in TREE if room_of(path) in ("render", "report")])
def test_render_and_report_import_no_torch(path: str) -> None:
    found = names_imported(TREE[path], types_too=False)
    assert not any(name.split(".")[0] == "torch" for name in found)
    assert not any(name.startswith(("seewhy.images", "seewhy.explanation")) for name in found)


# --- The tests above do fail --------------------------------------------------------------------


def changed(**files):
    """The package with some files' text, or some lines at their end, changed."""
    made = dict(TREE)
    for path, text in files.items():
        path = path.replace("__in__", "/") + ".py"
        made[path] = made.get(path, "") + text
    return made


@pytest.mark.parametrize("path", sorted(TREE))
def test_a_file_moved_to_an_unknown_room_is_found(path: str) -> None:
    tree = {f"elsewhere/{one}" if one == path else one: text for one, text in TREE.items()}
    found = set(unlisted(tree)) - set(unlisted(TREE))
    assert any("room 'elsewhere' is not in MAY_IMPORT" in fault for fault in found), found


def test_a_file_that_nobody_imports_is_in_a_room_too() -> None:
    assert any(
        "'web' is not in" in fault for fault in unlisted(changed(web__in__page="import os\n"))
    )


def test_a_room_that_is_gone_is_found() -> None:
    tree = {path: text for path, text in TREE.items() if path != "version.py"}
    tree = {path: text.replace("seewhy.version", "seewhy.errors") for path, text in tree.items()}
    assert any("'version' is in MAY_IMPORT and not there" in fault for fault in unlisted(tree))


CIRCLES = {
    "between rooms": {"errors": "from seewhy.images import Window\n"},
    "inside a room": {"models__in__modules": "from seewhy.models.watch import watch\n"},
    "in a function": {"models__in__modules": "def f():\n    import seewhy.models.trace\n"},
    "for typing": {
        "models__in__modules": "if TYPE_CHECKING:\n    from seewhy.models import watch\n"
    },
    "through a third": {
        "errors": "import seewhy.between\n",
        "between": "from seewhy.images import Window\n",
    },
    "with the package": {"errors": "import seewhy\n"},
}


@pytest.mark.parametrize("kind", CIRCLES)
def test_a_circle_is_found(kind: str) -> None:
    found = set(closed(changed(**CIRCLES[kind]))) - set(closed(TREE))
    assert any("in a circle" in fault for fault in found), found


def test_the_table_cannot_allow_a_circle() -> None:
    table = MAY_IMPORT | {"errors": {"images"}}
    assert any("MAY_IMPORT allows a circle" in fault for fault in closed(TREE, table))


@pytest.mark.parametrize(
    "line",
    [
        "from seewhy.explanation import Explanation",
        "if TYPE_CHECKING:\n    from seewhy.features import FeatureMaps",
        "def f():\n    from seewhy.models.watch import watch",
        "import seewhy.concepts as concepts",
    ],
)
def test_an_arrow_from_render_to_a_result_is_found(line: str) -> None:
    found = set(unlisted(changed(render__in__page=line + "\n"))) - set(unlisted(TREE))
    assert any("room 'render' imports" in fault for fault in found), found


REACHING = {
    "model.register_forward_hook(f)": "sets_module_hooks",
    "model.register_forward_pre_hook(f)": "sets_module_hooks",
    "model.register_full_backward_hook(f)": "sets_module_hooks",
    "torch.nn.modules.module.register_module_forward_hook(f)": "sets_module_hooks",
    "getattr(model, 'register_forward_hook')(f)": "sets_module_hooks",
    "hook = nn.Module.register_forward_hook": "sets_module_hooks",
    "model._forward_hooks[0] = f": "sets_module_hooks",
    "scores.register_hook(f)": "sets_tensor_hooks",
    "node.register_prehook(f)": "sets_tensor_hooks",
    "model.forward = f": "replaces_forward",
    "del model.forward": "replaces_forward",
    "setattr(model, 'forward', f)": "replaces_forward",
    "object.__setattr__(model, 'forward', f)": "replaces_forward",
    "model.__dict__['forward'] = f": "replaces_forward",
    "vars(model)['forward'] = f": "replaces_forward",
    "model.__dict__.update(forward=f)": "replaces_forward",
    "model.__dict__.pop('forward')": "replaces_forward",
    "torch.compiler.set_stance('force_eager')": "switches_compiled_code_off",
    "from torch.overrides import TorchFunctionMode": "defines_modes",
    "class Mine(torch.overrides.TorchFunctionMode): pass": "defines_modes",
    "import torch.utils._python_dispatch as d\nclass M(d.TorchDispatchMode): pass": "defines_modes",
    "from seewhy.models.relu_rules import ReluRule": "pushes_modes",
    "import seewhy.models.attending as a\nwith a.Attending(f): model(x)": "pushes_modes",
}


@pytest.mark.parametrize("line", REACHING)
def test_reaching_into_a_model_elsewhere_is_found(line: str) -> None:
    found = reaching(changed(tiles=f"\n{line}\n"))
    assert "tiles.py" in found.get(REACHING[line], set()), found


@pytest.mark.parametrize(
    "line",
    [
        "# model.register_forward_hook(f)",
        "found['forward'] = model.forward",
        "hooks = len(model._forward_hooks)",
        "'''Unlike TorchFunctionMode, register_hook does nothing here.'''",
    ],
)
def test_what_only_reads_or_speaks_of_it_is_let_be(line: str) -> None:
    assert reaching(changed(tiles=f"\n{line}\n")) == reaching(TREE)


def test_a_file_that_no_longer_reaches_into_a_model_leaves_the_list() -> None:
    tree = TREE | {"models/rerun.py": ""}
    assert reaching(tree)["replaces_forward"] == {"models/rerun.py"}


# --- The door -----------------------------------------------------------------------------------


def test_every_public_name_is_there_and_no_other() -> None:
    assert sorted(seewhy.__all__) == sorted(set(seewhy.__all__))
    for name in seewhy.__all__:
        assert getattr(seewhy, name) is not None, name
    assert set(dir(seewhy)) == set(seewhy.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        seewhy.nothing  # noqa: B018


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, seewhy; assert 'torch' not in sys.modules, 'torch';"
        "seewhy.explain, seewhy.attribute, seewhy.compare, seewhy.find_features;"
        "seewhy.find_concepts;"
        "heavy = {'matplotlib', 'scipy', 'torchvision', 'timm', 'typer', 'rich'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
