"""RQ entry points, one module per feature. Importing this package imports them all, which declares every job."""

import pkgutil
from importlib import import_module

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
