"""pyinfra in its own process: what comes back, and that whatever ends it is said in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pluto_deploy.metal.login import Login
from pluto_deploy.metal.worker.process import Job, Operation, run
from pluto_measure.errors import SourceError
from pluto_measure.progress import Silent

LOGIN = Login("host.example", "root", 2222, Path("/keys/login"), Path("/keys/known hosts"))
ANSWER = {"operations": [{"name": "packages", "changed": True}, {"name": "users", "changed": False}], "facts": {}}
# Reads the job as the worker does, and answers what the test says.
FRAME = "import json, os, signal, sys, time\nask = json.loads(sys.stdin.readline())\n"


class Heard:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def step(self, text: str) -> None:
        self.said.append(text)

    def doing(self, text: str) -> None:
        self.said.append(f"({text})")


def program(script: str) -> list[str]:
    return [sys.executable, "-c", FRAME + textwrap.dedent(script)]


def answering(**more: object) -> list[str]:
    return program(f"print(json.dumps({ {**ANSWER, 'error': None, **more}!r}))")


def failure(words: list[str]) -> str:
    with pytest.raises(SourceError) as caught:
        run(Job("prepare"), LOGIN, Silent(), program=words)
    return str(caught.value)


class TestParent:
    """The side that starts it."""

    def test_the_outcome_has_every_operation_in_its_order(self) -> None:
        outcome = run(Job("prepare"), LOGIN, Silent(), program=answering())
        assert outcome.operations == (Operation("packages", True), Operation("users", False))
        assert outcome.changed == ("packages",)

    def test_the_job_goes_by_stdin_alone(self, tmp_path: Path) -> None:
        seen = tmp_path / "seen.json"
        script = f"""
        seen = {{"ask": ask, "argv": sys.argv, "environment": dict(os.environ)}}
        open({str(seen)!r}, "w").write(json.dumps(seen))
        print(json.dumps({ {**ANSWER, "error": None}!r}))
        """
        run(Job("prepare", {"key": "s3cret"}, plan=True), LOGIN, Silent(), program=program(script))
        found = json.loads(seen.read_text())
        assert found["ask"] == {
            "login": {
                "host": "host.example",
                "user": "root",
                "port": 2222,
                "key": "/keys/login",
                "knownHosts": "/keys/known hosts",
            },
            "job": "prepare",
            "parameters": {"key": "s3cret"},
            "plan": True,
        }
        assert "s3cret" not in json.dumps([found["argv"], found["environment"]])

    def test_a_job_does_not_show_its_parameters(self) -> None:
        assert "s3cret" not in repr(Job("prepare", {"key": "s3cret"}))

    def test_progress_is_passed_on_and_other_words_are_not(self) -> None:
        script = f"""
        for line in ('{{"doing": "packages"}}', "a library's warning", '{{"step": "packages"}}', '"text"', "[]"):
            print(line, file=sys.stderr)
        print(json.dumps({ {**ANSWER, "error": None}!r}))
        """
        heard = Heard()
        run(Job("prepare"), LOGIN, heard, program=program(script))
        assert heard.said == ["(packages)", "packages"]

    def test_what_failed_is_said_with_its_host(self) -> None:
        told = failure(answering(error="packages: E: Unable to locate package tdx-qgs"))
        assert told == "root@host.example:2222: packages: E: Unable to locate package tdx-qgs"

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL"),
            ("print('Traceback', file=sys.stderr); sys.exit('ModuleNotFoundError: gevent')", "1.*ModuleNotFoundError"),
            ("sys.exit(3)", "ended with 3 and no result$"),
            ("pass", "ended with 0 and no result$"),
            ("print('not JSON')", "not JSON"),
            ("print('[]')", "must be an object"),
            ("print('{}')", "operations is missing"),
            ("print(json.dumps({'operations': [{'name': 1}], 'facts': {}, 'error': None}))", "name must be str"),
        ],
    )
    def test_a_process_that_gives_no_result_is_an_error_of_the_source(self, script: str, said: str) -> None:
        with pytest.raises(SourceError, match=said):
            run(Job("prepare"), LOGIN, Silent(), program=program(script))

    def test_a_process_that_dies_before_it_reads_is_one_too(self) -> None:
        large = {"text": "x" * (1 << 20)}
        with pytest.raises(SourceError, match="ended with 4"):
            run(Job("prepare", large), LOGIN, Silent(), program=[sys.executable, "-c", "raise SystemExit(4)"])

    def test_an_interrupt_leaves_no_process_behind(self) -> None:
        class Interrupting(Heard):
            def doing(self, text: str) -> None:
                self.said.append(text)
                raise KeyboardInterrupt

        heard = Interrupting()
        script = """
        print(json.dumps({"doing": str(os.getpid())}), file=sys.stderr, flush=True)
        time.sleep(60)
        """
        with pytest.raises(KeyboardInterrupt):
            run(Job("prepare"), LOGIN, heard, program=program(script))
        assert not Path(f"/proc/{heard.said[0]}").exists()


class TestWorker:
    """The real one."""

    def test_the_parent_has_nothing_of_it(self) -> None:
        script = (
            "import sys, pluto_deploy.metal.worker.process; sys.exit(bool({'gevent', 'pyinfra'} & set(sys.modules)))"
        )
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

    def test_everything_is_patched_before_pyinfra_comes(self) -> None:
        # Unpatched, paramiko's sockets block, and no `_timeout` is kept.
        script = (
            "import pluto_deploy.metal.worker.__main__, paramiko.transport, socket, threading\n"
            "from gevent.monkey import is_module_patched as patched\n"
            "assert all(map(patched, ('socket', 'threading', 'select', 'time', 'subprocess')))\n"
            "assert paramiko.transport.socket.socket.__module__.startswith('gevent')\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def test_nobody_listens(self) -> None:
        login = Login("127.0.0.1", "root", 1, None, Path("/dev/null"))
        with pytest.raises(SourceError, match=r"^root@127\.0\.0\.1:1: Could not connect"):
            run(Job("prepare"), login, Silent())

    def test_a_key_that_is_not_there(self, tmp_path: Path) -> None:
        login = Login("127.0.0.1", "root", 1, tmp_path / "key", Path("/dev/null"))
        with pytest.raises(SourceError, match="No such private key file"):
            run(Job("prepare"), login, Silent())

    def test_it_ends_with_its_parent(self) -> None:
        script = "from pluto_deploy.metal.worker import __main__ as worker, jobs\nimport gevent, os\n"
        script += "jobs.perform = lambda *_: (print('begun', flush=True), gevent.sleep(60))\nos._exit(worker.main())"
        with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write(b"{}\n")
            process.stdin.flush()
            assert process.stderr.readline() == b"begun\n"  # also: what is printed does not come to the result
            process.stdin.close()
            assert process.wait(timeout=10) == 1
