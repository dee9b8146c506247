"""The contracts of the tree, each a function from the source to its violations.

import-linter holds the order of the features. What is here holds for every module by rule, so a new module
is checked from its first line.
"""

import ast
import re
from collections.abc import Callable, Iterator

from tests.architecture.source import Import, Module, Project

# of one feature, highest first: a module imports its own layer or those below it, a view no other view
LAYERS = ("view", "page", "schemas", "service", "emails", "queries", "texts", "models", "events", "rules")
VIEWS = ("api", "cli", "console", "portal", "public")
ROLES = dict.fromkeys(VIEWS, "view") | {name: name for name in LAYERS if name not in ("view", "page")}
NOT_FEATURES = frozenset({"core", "dev", "mailer", "migrations", "ops", "sandbox", "web"})
MOST_MODULES = 16  # in one folder of a feature, without its __init__

HTTP = frozenset({"flask", "flask_security", "flask_smorest", "marshmallow", "rq", "werkzeug", "wtforms"})
ACCOUNT_NAMES = frozenset(
    {"RoleMixin", "UserMixin", "hash_password"}
)  # of flask_security: no request in them
IMPURE_LIBRARIES = HTTP | {
    "flask_babel", "flask_sqlalchemy", "http", "logging", "os", "psycopg", "random", "redis", "requests", "secrets",
    "sendgrid", "shutil", "smtplib", "socket", "sqlalchemy", "structlog", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip
IMPURE_METHODS = frozenset({
    "exists", "glob", "iterdir", "mkdir", "now", "read_bytes", "read_text", "rglob", "today", "unlink", "utcnow",
    "uuid1", "uuid4", "write_bytes", "write_text",
})  # fmt: skip
IMPURE_FUNCTIONS = frozenset({"input", "open", "print", "uuid1", "uuid4"})
MUTATING_METHODS = frozenset({
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault",
    "sort", "update",
})  # fmt: skip


def feature_of(name: str) -> str | None:
    """Return the feature a module belongs to: `crm.leads.sla` -> `leads`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 2 and parts[0] == "crm" and parts[1] not in NOT_FEATURES else None


def role_layer(leaf: str) -> str | None:
    """Return the layer of a role name; `console_work` is a view as `console` is."""
    if leaf in ROLES:
        return ROLES[leaf]
    return "view" if leaf.split("_", 1)[0] in VIEWS else None


def layer_of(project: Project, name: str) -> str | None:
    """Return a module's layer: the table's word first, for the module or its folder, then its role name's."""
    key = name.removeprefix("crm.")
    named = project.table.get(key) or role_layer(key.rsplit(".", 1)[-1])
    return named or project.table.get(key.rsplit(".", 1)[0] + ".*")


def _feature_modules(project: Project) -> Iterator[Module]:
    for name, module in project.modules.items():
        if feature_of(name) and name not in project.packages:
            yield module


def unknown_modules(project: Project) -> list[str]:
    """Every module of a feature has a role name or stands in the table, and the table names no other."""
    keys = {module.name.removeprefix("crm.") for module in _feature_modules(project)}
    known = keys | {key.rsplit(".", 1)[0] + ".*" for key in keys}
    found = [
        f"{module.name}: neither a role name nor in [tool.crm.layers] of pyproject.toml"
        for module in _feature_modules(project)
        if layer_of(project, module.name) is None
    ]
    found += [f"[tool.crm.layers]: there is no module {key}" for key in project.table if key not in known]
    found += [
        f"[tool.crm.layers]: {key} says {layer}, which is none of {', '.join(LAYERS)}"
        for key, layer in project.table.items()
        if layer not in LAYERS
    ]
    return found


def upward_imports(project: Project) -> list[str]:
    """Inside a feature no module imports a higher layer, and no view another view."""
    found = []
    for module in _feature_modules(project):
        mine = layer_of(project, module.name)
        for target, line in project.edges(module):
            theirs = layer_of(project, target)
            if feature_of(target) != feature_of(module.name) or target in project.packages:
                continue
            if mine is None or theirs is None or mine not in LAYERS or theirs not in LAYERS:
                continue  # told by unknown_modules
            upward = LAYERS.index(theirs) < LAYERS.index(mine)
            if upward or mine == theirs == "view":
                found.append(f"{module.name}:{line}: {mine} imports {theirs}: {target}")
    return found


def is_pure(project: Project, module: Module) -> bool:
    """Tell whether a module is to be pure: a rules.py, a module in the layer of rules, or one whose docstring says so."""
    said = " Pure" in f" {module.doc}" and "Pure but" not in module.doc
    in_feature = feature_of(module.name) is not None and module.name not in project.packages
    return said or (in_feature and layer_of(project, module.name) == "rules")


def impurities(module: Module) -> list[str]:
    """Return what makes one module impure: clock, randomness, input and output, frameworks, changing globals."""
    found = [
        f"{module.name}:{one.line}: imports {one.module}"
        for one in module.imports
        if one.at_runtime
        and one.module.split(".")[0] in IMPURE_LIBRARIES
        and not (one.module == "random" and _seeded(module))
    ]
    global_names = {
        target.id
        for node in module.tree.body
        for target in (node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)])
        if isinstance(target, ast.Name)
    }
    acts = _impure_acts(module.name, module.tree, set())
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            acts += _impure_acts(module.name, node, global_names)
    return found + sorted(set(acts))


def _seeded(module: Module) -> bool:
    """Tell whether a module uses `random` only as `random.Random(seed)`, which draws the same for the same seed."""
    nodes = list(ast.walk(module.tree))
    seeds = {id(node.func) for node in nodes if isinstance(node, ast.Call) and node.args}
    return all(
        node.attr == "Random" and id(node) in seeds
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random"
    )


def _impure_acts(name: str, scope: ast.AST, global_names: set[str]) -> list[str]:
    nodes = list(ast.walk(scope))
    local = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    shared = global_names - local - {node.arg for node in nodes if isinstance(node, ast.arg)}
    found = []
    for node in nodes:
        match node:
            case ast.Global():
                found.append(f"{name}:{node.lineno}: changes a global")
            case ast.Call(func=ast.Name(id=called)) if called in IMPURE_FUNCTIONS:
                found.append(f"{name}:{node.lineno}: calls {called}")
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=called)) if (
                owner in shared and called in MUTATING_METHODS
            ):
                found.append(f"{name}:{node.lineno}: changes the global {owner}")
            case ast.Call(func=ast.Attribute(attr=called)) if called in IMPURE_METHODS:
                found.append(f"{name}:{node.lineno}: calls {called}")
            case ast.Subscript(value=ast.Name(id=owner), ctx=ast.Store() | ast.Del()) if owner in shared:
                found.append(f"{name}:{node.lineno}: changes the global {owner}")
            case ast.Attribute(value=ast.Name(id=owner), ctx=ast.Store() | ast.Del()) if owner in shared:
                found.append(f"{name}:{node.lineno}: changes the global {owner}")
    return found


def unkept_purity(project: Project) -> list[str]:
    """A pure module, and every module it imports, directly or not, is without impurities."""
    own: dict[str, list[str]] = {}
    found = []
    for module in project.modules.values():
        if is_pure(project, module):
            for reached in sorted(_reached(project, module.name)):
                if reached not in own:
                    own[reached] = impurities(project.modules[reached])
                found += [f"{module.name} is to be pure, but {fault}" for fault in own[reached]]
    return found


def _reached(project: Project, name: str) -> set[str]:
    reached, waiting = {name}, [name]
    while waiting:
        for target, _ in project.edges(project.modules[waiting.pop()], runtime=True):
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


def http_below_views(project: Project) -> list[str]:
    """Below the views and their pages nothing of a feature knows HTTP, its frameworks or the job library."""
    return [
        f"{module.name}:{one.line}: a {layer_of(project, module.name)} module imports {one.module}"
        for module in _feature_modules(project)
        if layer_of(project, module.name) not in ("view", "page")
        for one in module.imports
        if (one.module.split(".")[0] in HTTP and not _allowed(project, module, one))
        or one.module == "crm.web"
        or one.module.startswith("crm.web.")
    ]


def _allowed(project: Project, module: Module, one: Import) -> bool:
    """Schemas are marshmallow's; accounts and their password hashes are Flask-Security's."""
    library = one.module.split(".")[0]
    if library == "flask_security":
        return one.name in ACCOUNT_NAMES
    return library == "marshmallow" and layer_of(project, module.name) == "schemas"


def private_imports(project: Project) -> list[str]:
    """No module uses another module's `_name`."""
    found = []
    for module in project.modules.values():
        found += [
            f"{module.name}:{one.line}: imports {one.module}.{one.name}"
            for one in module.imports
            if one.name is not None and _private(one.name) and one.module.split(".")[0] in ("crm", "jobs")
        ]
        known = _names_of_modules(project, module)
        found += [
            f"{module.name}:{node.lineno}: uses {known[node.value.id]}.{node.attr}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in known
            and _private(node.attr)
        ]
    return found


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _names_of_modules(project: Project, module: Module) -> dict[str, str]:
    """Return the names under which a module has imported others."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if f"{node.module}.{alias.name}" in project.modules
    }


BLUEPRINTS = frozenset({"Blueprint", "ConsolePages", "PortalPages", "PublicPages"})
ROUTE_VERBS = frozenset({"delete", "get", "patch", "post", "put", "route"})


def foreign_routes(project: Project) -> list[str]:
    """A view module makes one Blueprint, and adds routes to no other."""
    found = []
    for module in project.modules.values():
        made = [
            target.id
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Assign) and _called(node.value) in BLUEPRINTS
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
        if len(made) > 1:
            found.append(f"{module.name}: makes {len(made)} Blueprints: {', '.join(made)}")
        found += [
            f"{module.name}:{line}: adds a route to {owner}, which is not its own"
            for owner, line in _routes(module)
            if owner not in made
        ]
    return found


def _called(node: ast.expr) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def _routes(module: Module) -> Iterator[tuple[str, int]]:
    for function in ast.walk(module.tree):
        for decorator in getattr(function, "decorator_list", []):
            match decorator:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=verb)) if verb in ROUTE_VERBS:
                    yield owner, decorator.lineno


def sendgrid_imports(project: Project) -> list[str]:
    """One module imports `sendgrid`."""
    return [
        f"{module.name}:{one.line}: imports {one.module}"
        for module in project.modules.values()
        for one in module.imports
        if one.module.split(".")[0] == "sendgrid" and module.name != "crm.mailer.sendgrid"
    ]


MAY_START_SERVERS = frozenset({"crm.app", "crm.cli", "crm.core.config"})  # embedded servers, demo commands


def misplaced_imports(project: Project) -> list[str]:
    """`crm` never imports `jobs`; what runs in production never imports `crm.dev`."""
    found = []
    for module in project.modules.values():
        for target, line in project.edges(module):
            if target.split(".")[0] == "jobs" and not module.name.startswith("jobs"):
                found.append(f"{module.name}:{line}: crm imports {target}")
            dev_only = target.startswith("crm.dev") and not module.name.startswith("crm.dev")
            if dev_only and module.name not in MAY_START_SERVERS:
                found.append(f"{module.name}:{line}: imports {target}")
    return found


def circles(project: Project) -> list[str]:
    """No modules import one another in a circle, not for types alone either."""
    graph = {
        name: {target for target, _ in project.edges(module)} for name, module in project.modules.items()
    }
    found, done = [], set[str]()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found.append(" -> ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for target in sorted(graph[name]):
                visit(target, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return found


def full_folders(project: Project) -> list[str]:
    """No folder of a feature has too many modules for one look."""
    sizes: dict[str, int] = {}
    for module in _feature_modules(project):
        folder = module.name.rsplit(".", 1)[0]
        sizes[folder] = sizes.get(folder, 0) + 1
    return [
        f"{folder}: {size} modules, at most {MOST_MODULES}"
        for folder, size in sizes.items()
        if size > MOST_MODULES
    ]


def without_line(fault: str) -> str:
    """Return a violation without its line number, which moves with every edit."""
    return re.sub(r":\d+:", ":", fault)


CONTRACTS: tuple[Callable[[Project], list[str]], ...] = (
    unknown_modules,
    upward_imports,
    unkept_purity,
    http_below_views,
    private_imports,
    foreign_routes,
    sendgrid_imports,
    misplaced_imports,
    circles,
    full_folders,
)
