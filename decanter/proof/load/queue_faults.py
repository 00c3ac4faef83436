"""Faults of SQS, and of the API function's way to SQS and to the reader."""

from random import Random

import psutil

from decanter.proof.load.aws_proxy import Failing, Service
from decanter.proof.load.system import System, frozen

_SHARES = (0.2, 0.6, 1.0)


def queue_refuses(system: System, random: Random) -> bool:
    """Calls to SQS are answered with errors."""
    return _failing(system, random, "sqs", random.choice(("refused", "throttled")))


def queue_cut_off(system: System, random: Random) -> bool:
    """Calls to SQS get no answer, and some of them are carried out."""
    return _failing(system, random, "sqs", random.choice(("cut before", "cut after")))


def queue_late(system: System, random: Random) -> bool:
    """SQS answers later than anyone waits, or takes a message that late."""
    return _failing(system, random, "sqs", random.choice(("late before", "late after")))


def queue_takes_a_part(system: System, random: Random) -> bool:
    """SQS takes every other message of a batch."""
    return _failing(system, random, "sqs", "in part")


def reader_unreachable(system: System, random: Random) -> bool:
    """The API function cannot invoke the reader, or does not get its answers."""
    return _failing(system, random, "lambda", random.choice(("refused", "cut after", "late after")))


def cloud_frozen(system: System, random: Random) -> bool:
    """API Gateway, SQS and Lambda stop together, and go on."""
    with frozen([psutil.Process(system.cloud.ministack.process.pid)]):
        system.pause(random.uniform(0.5, 4))
    return True


def _failing(system: System, random: Random, service: Service, failing: Failing) -> bool:
    system.proxy.share = random.choice(_SHARES)
    system.proxy.failing[service] = failing
    try:
        system.pause(random.uniform(1, 5))
    finally:
        system.proxy.failing[service] = ""
    return True
