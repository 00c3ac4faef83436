"""The package of a project: a CloudFormation template and the zips that it refers to."""

from decanter.package.faults import PackagingError
from decanter.package.runtime import Runtime
from decanter.package.zips import NO_AWS, Package, app_code, package, run_chalice

__all__ = [
    "NO_AWS",
    "Package",
    "PackagingError",
    "Runtime",
    "app_code",
    "package",
    "run_chalice",
]
