"""Check and package a stage: the CloudFormation template and the zips of the functions."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from decanter import PROJECT, relative
from decanter.commands import options

if TYPE_CHECKING:
    from decanter.package import Package


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the package (build/STAGE)"
    )
    parser.add_argument(
        "--layer-only",
        action="store_true",
        help="build only the layer, and put it where `chalice deploy` looks for it",
    )


def run(given: Namespace) -> None:
    from decanter.deployment import packaging
    from decanter.deployment.stage import load
    from decanter.package import layer
    from decanter.package.requirements import pins

    stage = load(PROJECT, given.stage)
    runtime = packaging.runtime(stage)
    if given.layer_only:
        pins(PROJECT, runtime)
        path = layer.place(PROJECT, runtime)
        print(f"{relative(path)}  {_mib(path.stat().st_size)}, for chalice deploy")
        return
    out = given.out or PROJECT / "build" / given.stage
    made = packaging.package(PROJECT, stage, out)
    print(f"{relative(made.folder)}: stage {given.stage}, {runtime.name} on {runtime.architecture}")
    print(_summary(made))


def _summary(made: "Package") -> str:
    from decanter.deployment.functions import FUNCTIONS
    from decanter.package import contents
    from decanter.package.zips import CODE, LAYER

    resources = made.template["Resources"]
    rows = []
    for each in FUNCTIONS:
        if each.logical in resources:
            settings = resources[each.logical]["Properties"]
            memory, seconds = settings["MemorySize"], settings["Timeout"]
            rows.append(f"  {each.name:<16}{memory:>5} MB {seconds:>4} s")
    sizes = {CODE: made.code.stat().st_size, LAYER: made.layer.stat().st_size}
    rows += [f"  {name:<28}{_mib(size)}" for name, size in sizes.items()]
    total = sum(sizes.values())
    rows.append(f"  {'total':<28}{_mib(total)}")
    if total > contents.TOTAL_BYTES:
        limit = _mib(contents.TOTAL_BYTES)
        rows[-1] += f", more than {limit}: see decanter/package/contents.py"
    return "\n".join(rows)


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
