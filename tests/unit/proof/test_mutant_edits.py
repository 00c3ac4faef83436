"""Mutants change code in place, and say so when there is nothing to change."""

import subprocess
import sys

import pytest

from decanter.__main__ import main
from decanter.proof.mutants.edits import Edit, NoSuchText, compiled
from decanter.proof.mutants.table import MUTANTS


def test_each_mutant_changes_the_code_as_it_is():
    for mutant in MUTANTS.values():
        assert compiled(mutant.edits), mutant.name


def test_whoever_has_imported_a_function_runs_the_changed_code():
    # In a process of its own, as the change stays.
    code = """
from uuid import UUID
from chalicelib.drain.compatibility import is_expired
from chalicelib.messages.message import Message
from chalicelib.messages.receipt import Receipt, issue, verify
from chalicelib.postgres import waiting
from decanter.proof.mutants.table import MUTANTS
token = issue(Receipt(UUID(int=1 << 76), 1, 1, 1, "0" * 32), b"key", "ann")
old = Message("", "", 0, "", "create", ())
before = verify(token, b"key", "eve"), is_expired(old), "FOR UPDATE" in waiting._TAKE
for name in ("receipt-without-mac", "expired-poured", "waiting-taken-twice"):
    MUTANTS[name].apply()
print(before, verify(token, b"key", "eve").writes, is_expired(old), "FOR UPDATE" in waiting._TAKE)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(None, True, True) 1 False False\n"


def test_a_text_that_is_gone_is_named():
    with pytest.raises(NoSuchText, match=r"chalicelib\.ops.*'no such text'"):
        compiled((Edit("chalicelib.ops", "no such text", ""),))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mutants", "--mutant", "nobody"], ["nobody", "no-unique-index", "swept-too-early"]),
        (["mutant"], ["'mutant'", "mutants"]),
        (["--mutant", "no-unique-index"], ["--mutant is for", "prove mutants"]),
        (["mutants", "--runs", "3"], ["--runs is for", "prove histories or peers"]),
        (["--fault", "nobody"], ["nobody", "drain-killed"]),
        (["--seed", "-1"], ["'-1'", "a whole number from 0"]),
        (["--minutes", "soon"], ["'soon'", "10 or 0.5"]),
        (["--plan", "[]"], ["--plan", "as a failure prints it"]),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(capsys, arguments, words):
    with pytest.raises(SystemExit) as end:
        main(["prove", *arguments])
    said = capsys.readouterr().err + str(end.value)
    assert end.value.code != 0
    for word in words:
        assert word in said
