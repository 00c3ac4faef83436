"""The part of the shell's environment that the local cloud sees.

A profile, endpoint, proxy or module path set for other work would lead the local cloud and its
functions elsewhere. Commands for real AWS use the shell's environment unchanged.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from decanter.local.network import LOOPBACK
from decanter.package import NO_AWS

_AWS = re.compile(r"AWS_\w+|BOTO_CONFIG")
_BASIC = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|LD_LIBRARY_PATH|DYLD_\w+|VIRTUAL_ENV"
    r"|__PYVENV_LAUNCHER__|SYSTEMROOT|SYSTEMDRIVE|COMSPEC|PATHEXT"
)
_NO_PROXY = ("NO_PROXY", "no_proxy")  # programs differ in which one they read


def minimal(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of processes in the local cloud: where programs and libraries are."""
    kept = {name: value for name, value in variables.items() if _BASIC.fullmatch(name)}
    return kept | NO_AWS | dict.fromkeys(_NO_PROXY, "*")


def without_local_proxy(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the settings that keep requests to this machine from going through a proxy."""
    hosts = [host for name in _NO_PROXY for host in variables.get(name, "").split(",") if host]
    if "*" in hosts:  # matches every host, but only on its own
        return dict.fromkeys(_NO_PROXY, "*")
    return dict.fromkeys(_NO_PROXY, ",".join(dict.fromkeys([*hosts, LOOPBACK, "localhost", "::1"])))


@contextmanager
def isolated() -> Iterator[None]:
    """Hide the shell's AWS settings from this process, and from those it starts in the block.

    Proxies stay: pip needs them to fetch the dependencies of the functions.
    """
    before = dict(os.environ)
    for name in before:
        if _AWS.fullmatch(name):
            del os.environ[name]
    os.environ.update({**NO_AWS, **without_local_proxy()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
