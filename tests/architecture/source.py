"""The source as the contracts see it: modules, what each imports, and its place in the tree."""

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Import:
    """One imported module, or one name of it."""

    module: str
    name: str | None
    line: int
    at_runtime: bool


@dataclass(frozen=True)
class Module:
    """One module: its dotted name and its syntax tree."""

    name: str
    tree: ast.Module

    @property
    def leaf(self) -> str:
        """Return the last part of the name."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def doc(self) -> str:
        """Return the module docstring."""
        return ast.get_docstring(self.tree) or ""

    @cached_property
    def typing_only(self) -> set[int]:
        """Return the ids of all nodes under `if TYPE_CHECKING`."""
        return {
            id(inner)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            for child in node.body
            for inner in ast.walk(child)
        }

    @cached_property
    def imports(self) -> list[Import]:
        """Return every import statement of the module, those inside functions too."""
        found = []
        for node in ast.walk(self.tree):
            runtime = id(node) not in self.typing_only
            if isinstance(node, ast.Import):
                found += [Import(alias.name, None, node.lineno, runtime) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{self.name}: relative imports hide where a name comes from"
                found += [Import(node.module or "", a.name, node.lineno, runtime) for a in node.names]
        return found


@dataclass(frozen=True)
class Project:
    """All modules, and the layer table of pyproject.toml."""

    modules: Mapping[str, Module]
    packages: frozenset[str]
    table: Mapping[str, str]

    @classmethod
    def load(cls) -> "Project":
        """Read the modules and the table of this repository."""
        paths = [path for folder in ("crm", "jobs") for path in sorted((ROOT / folder).rglob("*.py"))]
        migrations = ROOT / "crm" / "migrations"
        sources = {
            path.relative_to(ROOT).as_posix(): path.read_text()
            for path in paths
            if migrations not in path.parents
        }
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
        return cls.from_sources(sources, settings["tool"]["crm"]["layers"])

    @classmethod
    def from_sources(cls, sources: Mapping[str, str], table: Mapping[str, str] | None = None) -> "Project":
        """Build a project from file paths and their text."""
        modules, packages = {}, set()
        for path, text in sources.items():
            name = path.removesuffix(".py").replace("/", ".")
            if name.endswith(".__init__"):
                name = name.removesuffix(".__init__")
                packages.add(name)
            modules[name] = Module(name, ast.parse(text))
        return cls(modules, frozenset(packages), table or {})

    def target(self, imported: Import) -> str | None:
        """Return the module of this project that an import reaches; None for a library."""
        whole = f"{imported.module}.{imported.name}"
        if whole in self.modules:
            return whole
        return imported.module if imported.module in self.modules else None

    def edges(self, module: Module, *, runtime: bool = False) -> Iterator[tuple[str, int]]:
        """Yield the modules of this project that a module imports, with the line."""
        for imported in module.imports:
            target = self.target(imported)
            if target is not None and target != module.name and (imported.at_runtime or not runtime):
                yield target, imported.line
