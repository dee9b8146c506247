"""Discovery of view modules: each `api.py`, `console.py`, `portal.py`, `public.py` and each `<audience>_<what>.py`.

A module declares one Blueprint of its audience's class. A module of such a name without a Blueprint (a helper) is
skipped; one that breaks the rule stops the start of the app, with its name.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from flask import Blueprint

from crm.core.config import ROOT

FOLDER = ROOT / "crm"
NOT_FEATURES = frozenset({"web", "sandbox", "migrations"})

Kind = TypeVar("Kind", bound=Blueprint)


class BadViewModule(Exception):
    """A view module declares more than one Blueprint, or one of another audience."""


@cache
def find_blueprints(audience: str, kind: type[Kind]) -> Sequence[Kind]:
    """Return the Blueprints of all features for one audience, ordered by module. Raises BadViewModule."""
    found = (blueprint_of(import_module(name), kind) for name in view_modules(audience))
    return tuple(blueprint for blueprint in found if blueprint is not None)


def view_modules(audience: str) -> list[str]:
    """Return the names of the modules that may declare pages for one audience."""
    paths = (path.relative_to(FOLDER) for path in FOLDER.rglob("*.py"))
    return sorted(
        ".".join(("crm", *path.with_suffix("").parts))
        for path in paths
        if path.parts[0] not in NOT_FEATURES and _is_named_for(path, audience)
    )


def _is_named_for(path: Path, audience: str) -> bool:
    return path.stem == audience or path.stem.startswith(f"{audience}_")


def blueprint_of(module: ModuleType, kind: type[Kind]) -> Kind | None:
    """Return the Blueprint that a module declares, or None. Raises BadViewModule."""
    made = {
        id(value): value
        for value in vars(module).values()
        if isinstance(value, Blueprint) and value.import_name == module.__name__
    }
    if not made:
        return None
    blueprint, *others = made.values()
    if others:
        raise BadViewModule(
            f"{module.__name__} declares more than one Blueprint. Move one to its own module."
        )
    if not isinstance(blueprint, kind):
        raise BadViewModule(
            f"{module.__name__} declares a {type(blueprint).__name__}, not a {kind.__name__}."
        )
    return blueprint
