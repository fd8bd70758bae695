"""The jobs of pyinfra's process, and how one is carried out: connect, add the operations, run them, tell of each.

Only the worker imports this module. A job is a function that adds operations by a `Steps`; whether one changed
something is taken from its own record after the run, since pyinfra's forecast is made before anything has changed.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import OperationMeta, add_op
from pyinfra.api.operations import run_ops
from pyinfra.api.state import BaseStateCallback, State

Tell = Callable[[str, str], None]  # "doing" or "step", and the words
SECONDS: Final = 60  # for each command of an operation that does not say otherwise
_CONNECT_SECONDS: Final = 15
_ALIVE_SECONDS: Final = 5  # between signs of life to the other side
_LOST_SECONDS: Final = 20  # without an answer to them
_LAST_WORDS: Final = 40
_HOST: Final = re.compile(r"\s*\[[^\]]*\] ")
_NO_REASON: Final = ("Error: executed", "Error in operation")
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(slots=True)
class Step:
    """An operation that was added. `causes`: those whose changes give it something to do."""

    name: str
    meta: OperationMeta
    causes: tuple[Step, ...]

    def would_change(self) -> bool:
        """Before the run: as the host is now, or because one of its causes would."""
        return self.meta.will_change or any(one.would_change() for one in self.causes)


@dataclass(slots=True)
class Steps:
    """Adds operations in their order."""

    state: State
    added: list[Step] = field(default_factory=list)

    def add(
        self,
        name: str,
        operation: Callable[..., OperationMeta],
        *arguments: Any,
        causes: Sequence[Step] = (),
        timeout: int = SECONDS,
        **more: Any,
    ) -> Step:
        """Add an operation. What it does depends on the host alone, never on what this run did before it.

        So `causes` serve a plan only: a run that begins where another was killed must do the same as that.
        """
        found = add_op(self.state, operation, *arguments, name=name, _timeout=timeout, **more)
        step = Step(name, next(iter(found.values())), tuple(causes))
        self.added.append(step)
        return step


Adder = Callable[[Steps, Mapping[str, Any]], None]


def _prepare(steps: Steps, parameters: Mapping[str, Any]) -> None:
    from pluto_deploy.metal.prepare import deploy

    deploy.prepare(steps, parameters)


JOBS: Final[Mapping[str, Adder]] = {"prepare": _prepare}


class _Log(logging.Handler):
    """Keeps pyinfra's last complaints: for some failures it tells the reason nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        lines = [_plain(line) for line in record.getMessage().splitlines()]
        self.lines = [*self.lines, *(line for line in lines if not line.startswith(_NO_REASON))][-_LAST_WORDS:]


class _Callbacks(BaseStateCallback):
    """Tells of each operation as it begins and of each that changed something; keeps why a connection failed."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self.refusal: str | None = None

    def operation_host_start(self, state: State, host: object, op_hash: str) -> None:  # type: ignore[override]
        names = state.get_op_meta(op_hash).names
        self.tell("doing", ", ".join(names))

    def operation_end(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        for operations in state.ops.values():
            if op_hash in operations and operations[op_hash].operation_meta.did_change():
                self.tell("step", ", ".join(state.get_op_meta(op_hash).names))

    def host_connect(self, state: State, host: Host) -> None:  # type: ignore[override]
        """Whatever its connector: an SSH connection that is cut must end the command that waits on it."""
        client = getattr(host.connector, "client", None)
        if client is not None:
            transport = client.get_transport()
            transport.set_keepalive(_ALIVE_SECONDS)
            if isinstance(transport.sock, socket.socket):  # not a proxy's
                transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _LOST_SECONDS * 1000)

    def host_connect_error(self, state: State, host: object, error: Exception) -> None:  # type: ignore[override]
        self.refusal = str(error)


def perform(ask: Mapping[str, Any], tell: Tell) -> dict[str, object]:
    """Do the job that is asked for. Returns what `pyinfra_process` reads."""
    login = ask["login"]
    inventory = Inventory(([(login["host"], connection_data(login))], {}))  # type: ignore[no-untyped-call]
    return carry_out(inventory, JOBS[ask["job"]], ask["parameters"], tell, plan=ask["plan"])


def connection_data(login: Mapping[str, Any]) -> dict[str, object]:
    """pyinfra's words for a login: the host's key must be known and the same."""
    data: dict[str, object] = {"ssh_hostname": login["host"], "ssh_strict_host_key_checking": "yes"}
    words = {"ssh_user": "user", "ssh_port": "port", "ssh_key": "key", "ssh_known_hosts_file": "knownHosts"}
    return data | {name: login[word] for name, word in words.items() if login[word] is not None}


def carry_out(
    inventory: Inventory, job: Adder, parameters: Mapping[str, Any], tell: Tell, *, plan: bool = False
) -> dict[str, object]:
    """Connect to the one host of `inventory` and do `job` there."""
    log, callbacks = _Log(), _Callbacks(tell)
    logging.getLogger("pyinfra").addHandler(log)
    # The forecast costs every look twice; a plan has nothing else.
    config = Config(CONNECT_TIMEOUT=_CONNECT_SECONDS)  # type: ignore[no-untyped-call]
    state = State(inventory, config, check_for_changes=plan)
    state.add_callback_handler(callbacks)  # type: ignore[no-untyped-call]
    steps = Steps(state)
    error = _guarded(lambda: _connect(state), log)
    if error is not None:
        return _answer([], _refusal(callbacks.refusal) if callbacks.refusal else error)
    error = _guarded(lambda: job(steps, parameters), log)
    if plan or error is not None:
        return _answer([{"name": one.name, "changed": one.would_change()} for one in steps.added if plan], error)
    error = _guarded(lambda: run_ops(state), log)
    done = [one for one in steps.added if one.meta.is_complete()]
    told = [{"name": one.name, "changed": one.meta.did_change()} for one in done]
    return _answer(told, None if error is None else _failure(steps, log) or error)


def _answer(operations: list[dict[str, object]], error: str | None) -> dict[str, object]:
    return {"operations": operations, "facts": {}, "error": error}


def _guarded(act: Callable[[], None], log: _Log) -> str | None:
    """Run `act`; returns the reason where pyinfra or the connection failed."""
    try:
        act()
    except (PyinfraError, OSError, EOFError, TimeoutError) as error:
        return _last(log.lines) or str(error) or type(error).__name__
    return None


def _connect(state: State) -> None:
    connect_all(state)
    host = next(iter(state.inventory))
    worked, output = host.run_shell_command("id -u", _timeout=SECONDS)
    if not worked:
        raise PyinfraError(f"a command on the host failed: {_last(output.stderr_lines)}")
    state.config.SUDO = output.stdout_lines[:1] != ["0"]


def _failure(steps: Steps, log: _Log) -> str | None:
    """The operation that failed, and the last line it wrote to stderr."""
    for step in steps.added:
        if step.meta.is_complete() and not step.meta.did_succeed():
            said = _last(step.meta.stderr_lines) or _last(step.meta.stdout_lines) or _last(log.lines)
            return f"{step.name}: {said or _silence(steps.state)}"
        if not step.meta.is_complete():
            return f"{step.name}: {_last(log.lines) or _silence(steps.state)}"
    return None


def _silence(state: State) -> str:
    """What an operation that failed without a word has to say."""
    client = getattr(next(iter(state.inventory)).connector, "client", None)
    transport = None if client is None else client.get_transport()
    lost = transport is not None and not transport.is_active()
    return "the connection was lost" if lost else "it failed and did not say why"


def _refusal(text: str) -> str:
    """Why there is no connection, in our words where the host's key is the reason."""
    if "host key error" in text:
        return "the host's key is not the one that is known for it"
    if "No host key for" in text:
        return "no key of this host is known, so it is not connected to"
    if "Authentication error" in text:
        return "the host does not accept this login"
    return text


def _last(lines: Sequence[str]) -> str:
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _plain(line: str) -> str:
    """A line of pyinfra's log without colours and without the host's name before it."""
    return _HOST.sub("", _COLOURS.sub("", line)).strip()
