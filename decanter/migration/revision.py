"""The file of a revision."""

import json
import re
import textwrap
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from decanter.migration.difference import Difference
from decanter.migration.statements import Step

BRANCH = "models"

_WIDTH = 100
_INDENT = " " * 4
# What SQLAlchemy takes for a parameter, and for the escape of one.
_PARAMETER = re.compile(r"(?<![:\w]):(?=\w+(?![:\w]))|(?<=\\):(?=\w*(?![:\w]))")


def write(change: Difference, message: str, folder: Path) -> Path | None:
    """Write the next revision, unless there is nothing to change; return its file.

    folder: laid out like `chalicelib/migrations`.
    """
    from alembic.script import ScriptDirectory

    from chalicelib.migrate.handler import alembic_config

    if not change.upgrade:
        return None
    config = alembic_config(folder=folder)
    config.cmd_opts = Namespace(quiet=True)
    numbers = [int(path.name.split("_")[0]) for path in files(folder) if _is_numbered(path)]
    upgrade, downgrade = _body(change.upgrade), _body(change.downgrade)
    if change.one_way:
        why = textwrap.indent(f"No downgrade could be generated:\n{change.one_way}", "# ")
        downgrade = textwrap.indent(why, _INDENT) + f"\n{_INDENT}raise NotImplementedError"
    is_wide = any(len(line) > _WIDTH for line in (upgrade + downgrade).splitlines())
    script = ScriptDirectory.from_config(config).generate_revision(
        f"{max(numbers, default=0) + 1:04}",
        message.replace("\\", "\\\\").replace('"', '\\"'),  # it is a docstring
        head=f"{BRANCH}@head" if numbers else "base",
        branch_labels=None if numbers else BRANCH,
        version_path=folder / "versions" / BRANCH,
        upgrades=upgrade,
        downgrades=downgrade,
        noqa="\n# ruff: noqa: E501\n" if is_wide else "",
        made=_made(change.made),
    )
    assert script is not None  # noqa: S101
    return Path(script.path)


def files(folder: Path) -> list[Path]:
    """Return the files of the user's revisions, sorted by their numbers."""
    return sorted((folder / "versions" / BRANCH).glob("*.py"))


def _is_numbered(path: Path) -> bool:
    return path.name.split("_")[0].isdecimal()


def _made(parts: Mapping[str, Sequence[str]]) -> str:
    if not parts:
        return "{}"
    lines = (
        f"{_INDENT}{json.dumps(table, ensure_ascii=False)}:"
        f" {json.dumps(list(names), ensure_ascii=False)},\n"
        for table, names in parts.items()
    )
    return "{\n" + "".join(lines) + "}"


def _body(steps: Sequence[Step]) -> str:
    return textwrap.indent("\n".join(line for step in steps for line in _lines(step)), _INDENT)


def _lines(step: Step) -> Iterator[str]:
    sql = _PARAMETER.sub(r"\\:", step.sql)
    indent = _INDENT if step.alone else ""
    if step.alone:
        yield "with op.get_context().autocommit_block():"
    if step.laid_out and '"""' not in sql:
        raw = "r" if "\\" in sql else ""
        yield f'{indent}op.execute(\n{_INDENT}{indent}{raw}"""'
        yield textwrap.indent(sql, indent + _INDENT)
        yield f'{indent}{_INDENT}"""\n{indent})'
        return
    literal = _literal(sql)
    line = f"{indent}op.execute({literal})"
    if len(line) + len(_INDENT) > _WIDTH:
        line = f"{indent}op.execute(\n{indent}{_INDENT}{literal}\n{indent})"
    yield line


def _literal(sql: str) -> str:
    """Return a string literal in the quotes that need the fewest backslashes."""
    text = sql.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    if not text.isprintable():
        return repr(sql)
    if '"' not in text:
        return f'"{text}"'
    if "'" not in text:
        return f"'{text}'"
    if '"""' not in text and not text.endswith('"') and "\\" not in text:
        return f'"""{text}"""'
    return repr(sql)
