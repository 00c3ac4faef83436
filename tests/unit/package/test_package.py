"""Packaging, part by part: requirements, zips and every refusal, and what a pipeline runs."""

import ast
import json
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.tags import parse_tag
from packaging.utils import canonicalize_name

from decanter.deployment.packaging import runtime
from decanter.deployment.stage import load
from decanter.package import (
    PackagingError,
    Runtime,
    archive,
    bytecode,
    contents,
    inspection,
    layer,
    services,
)
from decanter.package.requirements import Pin, pins
from tests.kit.project import PROJECT

BIN = Path(sys.executable).parent
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
X86 = Runtime((3, 11))
ARM = Runtime((3, 12), "arm64")
THIS = Runtime(sys.version_info[:2])
HASH = "--hash=sha256:" + "0" * 64
REQUIREMENTS = ["requirements.txt", "requirements-run.txt", "requirements-dev.txt"]


# Requirements


def installed(requirements: str) -> dict[str, str]:
    """Names and versions in a file of this project, as far as they are for this Python."""
    lines = re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)(?: ; (.*?))? \\$", requirements, re.M)
    return {
        canonicalize_name(name): version
        for name, version, marker in lines
        if "win32" not in marker and ">= '3.12'" not in marker
    }


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_are_what_is_installed(name: str) -> None:
    wanted = installed((PROJECT / name).read_text())

    assert len(wanted) > 15
    if sys.version_info[:2] == (3, 11):
        assert wanted == {each: metadata.version(each) for each in wanted}


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_name_no_index_and_no_machine(name: str) -> None:
    text = (PROJECT / name).read_text()

    assert not re.findall(r"://|^-|file:|@ ", text, re.M)
    assert str(Path.home()) not in text
    assert "/" not in re.sub(r"#.*", "", text)


def test_everything_is_hashed_for_all_platforms() -> None:
    text = (PROJECT / "requirements.txt").read_text()
    files = {
        canonicalize_name(block.split("==")[0]): len(
            re.findall(r"--hash=sha256:[0-9a-f]{64}", block)
        )
        for block in re.split(r"\n(?=\w)", text)
        if "==" in block
    }

    assert min(files.values()) >= 1
    # Wheels for Linux on two processors, macOS and Windows, of several Pythons.
    for compiled in (
        "sqlalchemy",
        "psycopg2-binary",
        "cryptography",
        "jsonschema-rs",
        "msgspec",
        "cffi",
    ):
        assert files[compiled] >= 8, compiled


def test_development_has_what_is_deployed() -> None:
    deployed, running, development = (
        installed((PROJECT / name).read_text()) for name in REQUIREMENTS
    )

    assert deployed.items() < running.items() < development.items()
    assert "chalice" not in deployed


def test_tools_import_what_is_installed_to_run_them() -> None:
    running = installed((PROJECT / "requirements-run.txt").read_text())
    home = PROJECT / "decanter"
    # What says by itself what to install.
    drawing = ("plotting", "images", "replay/picture")
    optional = {home / f"planning/{name}.py" for name in drawing}
    optional |= {*(home / "proof/peers").rglob("*.py")}
    tools = [path for path in home.rglob("*.py") if path not in optional]
    nodes = [node for path in tools for node in ast.walk(ast.parse(path.read_text()))]
    modules = {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names}
    modules |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    providers = metadata.packages_distributions()
    needed = {
        canonicalize_name(name)
        for module in modules
        for name in providers.get(module.split(".")[0], ())
    }

    assert {"boto3", "chalice", "psutil"} <= needed
    assert needed <= running.keys()


def test_direct_dependencies_say_why() -> None:
    for name in REQUIREMENTS:
        lines = (PROJECT / name).with_suffix(".in").read_text().splitlines()
        named = [line for line in lines if re.match(r"\w", line)]

        assert named
        for line in named:
            assert re.match(r"[\w-]+(\[\w+\])?==\S+ +# \w+", line), line


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """`project(requirements, wanted=None)`: a project with these requirements.txt and .in."""

    def project(requirements: str, wanted: str | None = None) -> Path:
        (tmp_path / "requirements.txt").write_text(requirements)
        if wanted is not None:
            (tmp_path / "requirements.in").write_text(wanted)
        return tmp_path

    return project


def test_pins_are_read_with_their_markers(project: Callable[..., Path]) -> None:
    text = f"""# made by a tool
six==1.17.0 \\
    {HASH} \\
    {HASH}
    # via something
Colorama==0.4.6 ; sys_platform == 'win32' \\
    {HASH}
PyJWT[crypto]==2.15.1 ; python_version >= '3.11' {HASH}
old_one==1 ; platform_machine == 'aarch64' {HASH}
"""

    assert pins(project(text, "six\nPyJWT>=2 # why\n"), X86) == [
        Pin("six", "1.17.0"),
        Pin("pyjwt", "2.15.1"),
    ]
    assert Pin("old-one", "1") in pins(project(text), ARM)


@pytest.mark.parametrize(
    ("text", "wanted", "said"),
    [
        (f"six>=1 {HASH}", None, "does not pin six.*make requirements"),
        (f"six==1.* {HASH}", None, "does not pin six"),
        ("six==1", None, "no hashes of six.*make requirements"),
        ("six==1 --hash=md5:0", None, "no hashes of six"),
        (f"chalice==1.34.0 {HASH}", None, "remove it from requirements.in"),
        ("--index-url https://example.org", None, "not a pinned requirement"),
        ("six @ https://example.org/six.whl", None, "does not pin six"),
        (f"six==1 {HASH}", "six==2", "asks for six==2, and requirements.txt has 1. Run: make"),
        (f"six==1 {HASH}", "six==1\nmako", "asks for mako, and requirements.txt has none"),
    ],
)
def test_requirements_that_could_be_another_file_are_refused(
    project: Callable[..., Path], text: str, wanted: str | None, said: str
) -> None:
    with pytest.raises(PackagingError, match=said):
        pins(project(text, wanted), X86)


def test_requirements_of_this_project_are_in_order() -> None:
    assert Pin("botocore", metadata.version("botocore")) in pins(PROJECT, THIS)


@pytest.mark.parametrize(
    ("pip", "said"),
    [
        (
            "ERROR: No matching distribution found for psycopg2-binary==2.9.13",
            r"psycopg2-binary==2.9.13 has no wheel for python3.12 on arm64 .*make requirements",
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
            "not one that requirements.txt names",
        ),
        (
            "ERROR: In --require-hashes mode, all requirements must have their versions pinned",
            "lacks a dependency of its packages. Run: make requirements",
        ),
        ("ERROR: Hashes are required in --require-hashes mode, but", "lacks a dependency"),
        ("WARNING: x\nERROR: Could not connect", "pip could not fetch.*\nERROR: Could not connect"),
    ],
)
def test_what_pip_says_is_shown_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, pip: str, said: str
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", pip)
    monkeypatch.setattr(subprocess, "run", lambda *_arguments, **_options: failed)

    with pytest.raises(PackagingError, match=said):
        layer.wheels(PROJECT, ARM)


def test_pip_refuses_a_file_that_is_not_the_one_that_was_pinned(
    project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.write(
        tmp_path / "index" / "thing-1.0-py3-none-any.whl",
        {
            "thing.py": b"",
            "thing-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
            "thing-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
            "thing-1.0.dist-info/RECORD": b"",
        },
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))

    with pytest.raises(PackagingError, match=r"is not one that requirements\.txt names"):
        layer.wheels(project(f"thing==1.0 {HASH}"), THIS)
    with pytest.raises(PackagingError, match=r"absent==1\.0 has no wheel for"):
        layer.wheels(project(f"absent==1.0 {HASH}"), THIS)


# Stages


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Path]:
    """`configured(stage=…, **whole)`: a project with that configuration of stage dev."""

    def configured(stage: dict[str, Any], **whole: Any) -> Path:
        (tmp_path / ".chalice").mkdir()
        stage["environment_variables"] = {"DECANTER_QUEUES": "p", "DECANTER_AUTH": "iam"}
        document = {**whole, "stages": {"dev": stage}}
        (tmp_path / ".chalice" / "config.json").write_text(json.dumps(document))
        return tmp_path

    return configured


def test_the_architecture_is_that_of_the_stage(configured: Callable[..., Path]) -> None:
    project = configured({"lambda_architecture": "arm64"}, lambda_architecture="x86_64")

    assert load(project, "dev").architecture == "arm64"


def test_the_architecture_is_that_of_all_stages(configured: Callable[..., Path]) -> None:
    project = configured({}, lambda_architecture="arm64")

    assert load(project, "dev").architecture == "arm64"


def test_the_architecture_is_x86_without_a_word(configured: Callable[..., Path]) -> None:
    assert load(configured({}), "dev").architecture == "x86_64"


def test_another_architecture_is_refused(configured: Callable[..., Path]) -> None:
    with pytest.raises(PackagingError, match="is 'riscv': it has to be x86_64 or arm64"):
        runtime(load(configured({"lambda_architecture": "riscv"}), "dev"))


def test_arm_is_refused_before_python_3_12(
    configured: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = configured({"lambda_architecture": "arm64"})

    monkeypatch.setattr(sys, "version_info", (3, 12, 1, "final", 0))
    assert runtime(load(project, "dev")) == ARM
    monkeypatch.setattr(sys, "version_info", (3, 11, 7, "final", 0))
    with pytest.raises(PackagingError, match=r"psycopg2-binary .* from Python 3.12 .*PYTHON=py"):
        runtime(load(project, "dev"))


def test_the_platforms_of_lambda_are_those_that_chalice_knows() -> None:
    from chalice.deploy.packager import DependencyBuilder

    for minor in range(11, 15):
        known = Runtime((3, minor))
        assert DependencyBuilder._RUNTIME_GLIBC[known.abi] == known.glibc
    assert DependencyBuilder._ARCHITECTURE_TO_MACHINE["arm64"] == ARM.machine


# What is left out


@pytest.mark.parametrize(
    "path",
    [
        "botocore/data/ec2/2016-11-15/service-2.json.gz",
        "botocore/data/sqs/2012-11-05/examples-1.json",
        "boto3/data/s3/2006-03-01/resources-1.json",
        "sqlalchemy/testing/fixtures/base.py",
        "sqlalchemy/dialects/mysql/base.py",
        "boto3-1.dist-info/RECORD",
        "jwt/api.pyi",
    ],
)
def test_what_nothing_uses_is_left_out(path: str) -> None:
    assert not contents.is_packaged(path)


@pytest.mark.parametrize(
    "path",
    [
        "botocore/data/sqs/2012-11-05/service-2.json.gz",
        "botocore/data/lambda/2015-03-31/endpoint-rule-set-1.json.gz",
        "botocore/data/endpoints.json",
        "sqlalchemy/dialects/postgresql/base.py",
        "boto3-1.dist-info/METADATA",
        "boto3-1.dist-info/licenses/LICENSE",
    ],
)
def test_what_is_used_is_packaged(path: str) -> None:
    assert contents.is_packaged(path)


def test_the_clients_of_the_functions_are_packaged() -> None:
    found = {
        service
        for path in (PROJECT / "chalicelib").rglob("*.py")
        for _line, service in services._clients(path)
    }

    assert {"sqs", "lambda", "cloudwatch"} <= found
    services.check(PROJECT)


def test_a_client_whose_description_is_left_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chalicelib").mkdir()
    (tmp_path / "app.py").write_text("import boto3\n\n\ndef f():\n    boto3.client('s3')\n")

    with pytest.raises(PackagingError, match=r"app\.py:5 makes a client of 's3'.*contents\.py"):
        services.check(tmp_path)


# Zips


def test_a_zip_depends_on_its_content_only(tmp_path: Path) -> None:
    files = {"b": b"2" * 1000, "a/c.py": b"3"}

    archive.write(tmp_path / "one.zip", files)
    archive.write(tmp_path / "two.zip", dict(reversed(files.items())))

    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert archive.read(tmp_path / "one.zip") == files


def test_bytecode_is_the_same_each_time_and_names_where_it_runs() -> None:
    source = {"pack/__init__.py": b"", "pack/x.py": b"S = {'a', 'b', 'c'}\ndef f(): return 1\n"}

    first = bytecode.compile_modules(source, "/opt/here", THIS, checked=True)

    assert first.keys() == source.keys()
    assert b"/opt/here/pack/x.py" in first["pack/x.py"]
    assert first == bytecode.compile_modules(source, "/opt/here", THIS, checked=True)
    assert first != bytecode.compile_modules(source, "/opt/here", THIS, checked=False)


def test_bytecode_is_left_out_for_another_python_and_of_what_is_no_python() -> None:
    assert bytecode.compile_modules({"x.py": b""}, "/opt", Runtime((3, 99)), checked=True) == {}
    assert bytecode.compile_modules({"x.py": b"("}, "/opt", THIS, checked=True) == {}


def test_a_layer_has_bytecode_in_place_of_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"jwt/a.py": b"A = 1\n", "six.py": b"S = 1\n", "alembic/b.py": b"B = 1\n", "x": b""}
    monkeypatch.setattr(layer, "wheels", lambda _project, _runtime: files)
    (tmp_path / "vendor" / "__pycache__").mkdir(parents=True)
    (tmp_path / "vendor" / "own.py").write_text("")
    (tmp_path / "vendor" / "__pycache__" / "own.pyc").write_text("")
    other = Runtime((3, 99))

    whole = layer.build(tmp_path, THIS)
    none = layer.build(tmp_path, other)

    assert {name.removeprefix(f"{THIS.site_packages}/") for name in whole} == {
        "jwt/a.pyc", "six.pyc", "alembic/b.pyc", "x", "own.py"
    }  # fmt: skip
    assert {name.removeprefix(f"{other.site_packages}/") for name in none} == {*files, "own.py"}


# What is wrong with zips


def library(machine: int = 62, *versions: str, size: int = 64) -> bytes:
    """The head of a native library, and the names of versions that it asks for."""
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HH", 3, machine)
    return head.ljust(size, b"\0") + b"".join(b"\0" + each.encode() for each in versions) + b"\0"


def dist(name: str, version: str = "1.0", tag: str = "py3-none-any") -> dict[str, bytes]:
    folder = f"{X86.site_packages}/{name}-{version}.dist-info"
    return {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{folder}/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n".encode(),
    }


CODE = {
    "app.py": b"",
    "chalice/__init__.py": b"",
    "chalice/app.py": b"",
    "chalice/__pycache__/app.cpython-311.pyc": b"",
    "__pycache__/app.cpython-311.pyc": b"",
    "chalicelib/contract.json": b"{}",
    "chalicelib/latest.py": b'"postgresql://user:password@host/name"',
}
NATIVE = "six/_fast.cpython-311-x86_64-linux-gnu.so"
LAYER = {
    **dist("six"),
    f"{X86.site_packages}/six.py": b"",
    f"{X86.site_packages}/{NATIVE}": library(62, "GLIBC_2.17", "GLIBC_2.2.5"),
}
PINS = [Pin("six", "1.0")]


def below(path: str, content: bytes = b"") -> dict[str, bytes]:
    return {f"{X86.site_packages}/{path}": content}


def test_zips_that_are_right_are_let_through() -> None:
    assert inspection.find_faults(CODE, LAYER, PINS, X86) == []


@pytest.mark.parametrize(
    ("code", "packages", "said"),
    [
        ({}, {"python/lib/python3.9/site-packages/x.py": b""}, "another Python.*package again"),
        ({}, dist("pytest"), "pytest is in the layer, and not in requirements.txt"),
        ({}, dist("six", "2.0"), "has six 2.0, and requirements.txt pins 1.0: remove build/layers"),
        ({}, dist("six", tag="cp311-cp311-win_amd64"), "six .* built for cp311-cp311-win_amd64"),
        ({}, dist("six", tag="cp312-cp312-manylinux_2_17_x86_64"), "built for cp312"),
        ({}, dist("six", tag="cp312-abi3-manylinux_2_17_x86_64"), "built for cp312-abi3"),
        ({}, dist("six", tag="cp311-cp311-manylinux_2_17_aarch64"), "which python3.11 on x86_64"),
        ({}, dist("six", tag="cp311-cp311-manylinux_2_28_x86_64"), "cannot load"),
        ({}, dist("six", tag="cp311-cp311-musllinux_1_2_x86_64"), "cannot load"),
        ({}, below(NATIVE, library(183)), r"_fast.*\.so is built for aarch64.*remove build/layers"),
        ({}, below(NATIVE, library(8)), "built for another machine"),
        ({}, below(NATIVE, library(62, "GLIBC_2.9", "GLIBC_2.28")), r"built for glibc 2\.28"),
        ({}, below(NATIVE, b"\x7fELF\x01\x01" + b"\0" * 60), "built for another machine"),
        ({}, below(NATIVE, b"\xcf\xfa\xed\xfe"), "is not a native library"),
        ({}, below("libs/libpq.so.5", library(183)), "libpq.so.5 is built for aarch64"),
        (
            {},
            below("six/x.cpython-312-x86_64-linux-gnu.so", library()),
            "is built for cpython-312, and the functions run with python3.11",
        ),
        ({}, below("six/x.dylib"), "a library for macOS.*if it is of vendor/, build it for Lambda"),
        ({}, below("six/x.pyd"), "a library for Windows"),
        ({"chalicelib/x.so": library(183)}, {}, "chalicelib/x.so is built for aarch64"),
        (
            {"decanter/local/demo/run.py": b""},
            {},
            "decanter/local/demo/run.py is in the functions' code.*move it",
        ),
        ({"chalice/cli/__init__.py": b""}, {}, "chalice/cli/__init__.py is in the functions' code"),
        ({"chalicelib/tests/x.py": b""}, {}, "tests/x.py is a test.*move it to tests/"),
        ({"chalicelib/test_x.py": b""}, {}, "chalicelib/test_x.py is a test"),
        ({"chalicelib/conftest.py": b""}, {}, "conftest.py is a test"),
        ({}, below("six/tests/x.py"), "six/tests/x.py is a test.*contents.py"),
        ({"chalicelib/.env": b""}, {}, "chalicelib/.env would be deployed.*Secrets Manager"),
        ({"chalicelib/.env.local": b""}, {}, "hold secrets"),
        ({"chalicelib/tls.key": b""}, {}, "hold secrets"),
        ({}, below(".env"), r"^\.env would be deployed"),
        (
            {"chalicelib/x.pem": b"-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA"},
            {},
            "x.pem holds a private key",
        ),
        (
            {"chalicelib/x.py": b'"AKIAIOSFODNN7ABCDEFG"'},
            {},
            "x.py holds an AWS access key.*remove and revoke it",
        ),
        (
            {"chalicelib/x.py": b'"postgresql://owner:hunter2@db.example.org/app"'},
            {},
            "x.py holds a database URL with its password",
        ),
    ],
)
def test_zips_that_are_wrong_are_refused(
    code: dict[str, bytes], packages: dict[str, bytes], said: str
) -> None:
    replaced = {name: LAYER[name] for name in LAYER if "dist-info" not in name or not packages}
    six = {} if any("six-" in name for name in packages) else dist("six")

    [fault] = inspection.find_faults(CODE | code, replaced | six | packages, PINS, X86)

    assert re.search(said, fault), fault


def test_zips_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "UNPACKED_BYTES", 2**20)

    [fault] = inspection.find_faults({**CODE, "chalicelib/big": bytes(2**21)}, LAYER, PINS, X86)

    assert "are 2 MiB unpacked, and Lambda takes 1: leave out more in" in fault


def test_a_wheel_that_is_missing_is_refused() -> None:
    [fault] = inspection.find_faults(CODE, LAYER, [*PINS, Pin("mako", "1.4.3")], X86)

    assert fault.startswith("No wheel of mako is in the layer: pin a version in requirements.in")


def test_the_same_library_is_right_on_newer_lambda() -> None:
    newer = {
        name.replace("3.11", "3.12").replace("311", "312"): content
        for name, content in {**LAYER, **below(NATIVE, library(62, "GLIBC_2.28"))}.items()
    }

    assert inspection.find_faults(CODE, newer, PINS, Runtime((3, 12))) == []


@pytest.mark.parametrize(
    "tag",
    [
        "py3-none-any", "py2.py3-none-any", "cp311-none-any", "cp311-cp311-linux_x86_64",
        "cp39-abi3-manylinux2014_x86_64", "cp311-abi3-manylinux_2_26_x86_64",
        "cp311-cp311-manylinux1_x86_64", "py3-none-manylinux_2_5_x86_64",
    ],
)  # fmt: skip
def test_wheels_that_lambda_can_load(tag: str) -> None:
    assert not X86.tags.isdisjoint(parse_tag(tag))


# What a pipeline runs


def make_targets() -> set[str]:
    text = (PROJECT / "Makefile").read_text()
    return {name for line in re.findall(r"^([a-z -]+):(?!=)", text, re.M) for name in line.split()}


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step for job in jobs for step in [*job.get("steps", []), job] if "steps" not in step]


def test_workflows_are_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "deploy-stage", "deploy"]


def test_workflows_are_valid() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows"]

    done = subprocess.run([*command, *WORKFLOWS], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_make_targets_only(workflow: Path) -> None:
    commands = [step["run"] for step in steps(workflow) if "run" in step]

    for command in commands:
        found = re.fullmatch(r'make ([a-z-]+)(?: [A-Z]+=(?:[\w-]+|"\$[A-Z]+"))*', command)
        assert found, command
        assert found[1] in make_targets(), command
    assert commands or workflow.stem == "deploy"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    for line in re.findall(r"uses: (.*)", workflow.read_text()):
        pinned = re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)
        own = re.fullmatch(r"\./(\.github/workflows/[\w-]+\.yml)", line)
        assert pinned or (own and (PROJECT / own[1]).exists()), line


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_do_little_and_hold_no_keys(workflow: Path) -> None:
    document = yaml.safe_load(workflow.read_text())
    granted = [
        document["permissions"],
        *(j.get("permissions", {}) for j in document["jobs"].values()),
    ]

    assert document["permissions"] == {"contents": "read"}
    assert "secrets." not in workflow.read_text()
    assert "aws-access-key" not in workflow.read_text()
    for permissions in granted:
        assert permissions.items() <= {"contents": "read", "id-token": "write"}.items()
    assert any("id-token" in each for each in granted) == (workflow.stem != "ci")


def test_production_comes_after_staging_after_the_tests() -> None:
    jobs = yaml.safe_load((PROJECT / ".github/workflows/deploy.yml").read_text())["jobs"]
    stage = yaml.safe_load((PROJECT / ".github/workflows/deploy-stage.yml").read_text())
    [job] = stage["jobs"].values()

    assert jobs["staging"]["needs"] == "ci"
    assert jobs["production"]["needs"] == "staging"
    assert jobs["production"]["with"] == {"stage": "production"}
    assert job["environment"] == "${{ inputs.stage }}"


def test_make_says_what_packaging_lacks() -> None:
    done = subprocess.run(
        ["make", "--old-file=.venv/.installed", "package"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert "name the stage: make package STAGE=dev" in done.stderr
