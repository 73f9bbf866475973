"""Do scripts of real programs do what the paper's do, and end their process alone at a limit?"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

KILLED = 137
FIGURE_1 = REPOSITORY / "user" / "figure1.lua"


def hardtack(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "boot", "run", "-w", str(folder), *map(str, words)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def run(user_programs: Path, tmp_path: Path):  # noqa: ANN201 (a function of many shapes)
    """Run one script in a kernel of its own."""

    def runner(
        script: str, *words: str, options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        (tmp_path / "script.lua").write_text(script)
        luarun = user_programs / "luarun"
        flags = [word for word in words if word.startswith("-")]
        rest = [word for word in words if not word.startswith("-")]
        return hardtack(*options, "--", luarun, *flags, "script.lua", *rest, folder=tmp_path)

    return runner


@pytest.mark.parametrize("jit", ["on", "off"])
def test_the_papers_figure_1_from_c(user_programs: Path, tmp_path: Path, jit: str) -> None:
    done = hardtack("--script-jit", jit, "--", user_programs / "figure1", FIGURE_1, folder=tmp_path)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert (lines[0], lines[-1]) == ("8 datagrams", "0 datagrams")
    assert lines[4] == "datagram 3 of client 0, 22 bytes, from client 0"


def test_globals_live_as_long_as_the_descriptor_and_across_fork(run) -> None:  # noqa: ANN001
    done = run("n = 0 function run(a) n = n + a return n end", "-n3", "-f", "5")
    assert done.stdout.split() == [
        "result:",
        "5",
        "result:",
        "10",
        "result:",
        "15",
        "result:",
        "20",
    ]


def test_a_call_that_blocks_in_a_script_waits(run) -> None:  # noqa: ANN001
    script = """function run(a)
      util.poke(a, 0) util.poke(a + 8, 30000000)
      local before = syscall.clock_gettime(1, a + 16)
      local slept = coroutine.wrap(function() return syscall.nanosleep(a, 0) end)()
      util.poke(a, 0)
      return slept end"""
    assert run(script, "buffer").stdout == "result: 0\n"


def test_what_cannot_wait_there_is_refused(run) -> None:  # noqa: ANN001
    script = """function run(a)
      util.poke(a, 1) util.poke(a + 8, 0)
      local meta = {__lt = function() return syscall.nanosleep(a, 0) == 0 end}
      local x, y = setmetatable({}, meta), setmetatable({}, meta)
      local slept
      string.gsub("x", "x", function() slept = syscall.nanosleep(a, 0) end)
      util.poke(a, 0)
      return slept + (x < y and 0 or 100) end"""
    assert run(script, "buffer").stdout == "result: 0\n"


def test_every_argument_arrives(run) -> None:  # noqa: ANN001
    script = (
        "function run(...) local s = 0 for i = 1, 8 do s = s * 10 + select(i, ...) end return s end"
    )
    assert run(script, *"12345678").stdout == "result: 12345678\n"
    assert run("function run(...) return select('#', ...) end").stdout == "result: 0\n"
    assert run("function run(a) return a end", "-5").stdout in ("", "result: 0\n")
    assert "Invalid argument" in run("function run() end", *"123456789").stdout


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("syscall.read(0, 16, 8)", -14),
        ("syscall.write(1, 2 ^ 46, 8)", -14),
        ("syscall.write(1, -4096, 8)", -14),
        ("util.poke(0, 1)", -14),
        ("select(2, util.peek(2 ^ 47 + 4096))", -14),
        ("select(2, util.copyin(-1, 1))", -14),
        ("util.putstring('x', 4096)", -14),
        ("select(2, util.getstring(4096, 10))", -14),
        ("select(2, util.getstring(4096, 1e9))", -22),
        ("util.copyout({1, {}}, a, 2)", -22),
        ("util.copyout({1}, a, 2)", -22),
        ("util.copyout({1}, a, -1)", -22),
        ("util.copyout({1}, a, 1, 3)", -22),
        ("util.copyout({258}, a, 1, 1) + util.peek(a, 2)", 2),
        ("util.poke(a, -2, 4) + util.peek(a, 4) + util.poke(a, 0)", -2),
        ("syscall.fork()", -1),
        ("syscall.execve(0, 0, 0)", -1),
        ("syscall.exit_group(0)", -1),
        ("syscall.lua_syscall(3, 0)", -1),
        ("syscall.rt_sigreturn()", -1),
        ("syscall.close(999)", -9),
        ("syscall.getpid() - syscall.gettid()", 0),
    ],
)
def test_every_pointer_is_checked_and_every_answer_is_the_calls_own(
    run,  # noqa: ANN001
    expression: str,
    expected: int,
) -> None:
    text = run(f"function run(a) return {expression} end", "buffer").stdout.splitlines()[0]
    shown = {-1: "error: Operation not permitted", -14: "error: Bad address"}
    shown |= {-22: "error: Invalid argument", -9: "error: Bad file descriptor"}
    shown |= {-2: "error: No such file or directory"}
    assert text == shown.get(expected, f"result: {expected}")


@pytest.mark.parametrize("jit", ["on", "off"])
@pytest.mark.parametrize(
    ("script", "record"),
    [
        ("while true do end", "time limit of 60 ms"),
        ("while true do syscall.getppid() end", "time limit of 60 ms"),
        ("return #string.rep('x', 1e9)", "memory limit of 1,048,576 bytes"),
    ],
)
def test_a_limit_kills_the_process_with_a_record(
    run,  # noqa: ANN001
    jit: str,
    script: str,
    record: str,
) -> None:
    options = ("--script-jit", jit, "--script-time", "60")
    done = run(f"function run() {script} end", options=options)
    assert (done.returncode, done.stdout) == (KILLED, "")
    assert re.search(
        rf"a script of pid 2 \(luarun\) reached its {record}: the process", done.stderr
    )


def test_only_the_process_dies(user_programs: Path, tmp_path: Path) -> None:
    (tmp_path / "endless.lua").write_text("function run() while true do end end")
    (tmp_path / "good.lua").write_text("function run() return 7 end")
    luarun = user_programs / "luarun"
    shell = f"{luarun} endless.lua & {luarun} good.lua; wait $!; echo $?; {luarun} good.lua"
    done = hardtack("--script-time", "300", "--", "/bin/sh", "-c", shell, folder=tmp_path)
    assert done.stdout.splitlines() == ["result: 7", "137", "result: 7"]


def test_a_failure_is_an_errno_and_a_reason_to_read(run) -> None:  # noqa: ANN001
    done = run("function run()\n return nothing.at_all end")
    assert "failed: script:2: attempt to index global 'nothing'" in done.stdout
    assert run("function run( end").stdout == "refused: Invalid argument\n"


def test_inner_calls_are_traced_indented(run) -> None:  # noqa: ANN001
    done = run(
        "function run() return syscall.getppid() end", options=("--trace=getppid,lua_syscall",)
    )
    assert "lua_syscall(3, 0 <unfinished ...>\n  getppid()" in done.stderr
    assert "\n<... lua_syscall resumed>)" in done.stderr


def test_failing_reservations_repeat_the_inner_call_alone(run) -> None:  # noqa: ANN001
    script = """n = 0
    function run(a)
      n = n + 1
      for i = 1, 20 do
        if syscall.pipe2(a, 0) ~= 0 then return -1 end
        local ends = util.copyin(a, 2)
        if syscall.write(ends[2], a, 60000) ~= 60000 then return -2 end
        if syscall.read(ends[1], a + 8, 60000) ~= 60000 then return -3 end
        syscall.close(ends[1]) syscall.close(ends[2])
      end
      util.poke(a, 0)
      return n * 1000 + 20
    end"""
    for when in ("once", "0.3"):
        done = run(script, "-n2", "buffer", options=("--heap-faults", when))
        results = [line for line in done.stdout.splitlines() if line.startswith("result")]
        assert results == ["result: 1020", "result: 2020"], done.stdout + done.stderr


def test_the_state_is_reserved_and_given_back(run) -> None:  # noqa: ANN001
    done = run("function run() end", options=("--stats", "--script-memory", "2M"))
    assert "script state" not in done.stderr
    assert "bug" not in done.stderr


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("function run() return tostring(setmetatable({}, {__tostring = tostring})) end", "stack"),
        ("function run() table.insert({}, -2^31 + 1, 0) end", "out of bounds"),
        ("function run() setmetatable({}, {__call = xpcall})(1) end", "function expected"),
        (
            "function run() string.gsub = function() return '' end string.format('%p', 'x') end",
            "no %p",
        ),
        ('x = "' + "\\z   " * 60, "refused"),
    ],
)
def test_what_took_the_kernel_down_is_an_error(run, script: str, said: str) -> None:  # noqa: ANN001
    done = run(script)
    assert said in done.stdout + done.stderr


def test_a_handler_of_xpcall_may_wait(run) -> None:  # noqa: ANN001
    done = run(
        "function run() local ok, slept = xpcall(error, function()"
        " util.poke(0, 0) return syscall.sched_yield() + syscall.poll(0, 0, 50) end)"
        " return ok and 1 or slept + 7 end"
    )
    assert done.stdout.split() == ["result:", "7"]


SPIN = """function run(a)
  local calls = 0
  while true do
    util.poke(a, 3600) util.poke(a + 8, 0)
    local slept = syscall.nanosleep(a, 0)
    util.poke(a, 0)
    calls = calls + 1
  end
end"""
SLEEP = """function run(a)
  util.poke(a, 1) util.poke(a + 8, 0)
  local slept = syscall.nanosleep(a, 0)
  util.poke(a, 0)
  return slept
end"""


@pytest.mark.parametrize("jit", ["on", "off"])
def test_a_handler_ends_a_script_that_waits_again(run, jit: str) -> None:  # noqa: ANN001
    done = run(SPIN, "-a", "buffer", options=("--script-jit", jit))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == ["rang", "error: Interrupted system call"]


def test_a_script_may_clean_up_before_the_handler_runs(run) -> None:  # noqa: ANN001
    script = SLEEP.replace("return slept", "return syscall.write(1, a, 0) * 100 - slept")
    assert run(script, "-a", "buffer").stdout == "rang\nresult: 4\n"


def shell(run_in: Path, luarun: Path, script: str, steps: str) -> list[str]:
    (run_in / "script.lua").write_text(script)
    words = ("--script-time", "20000", "--", "/bin/bash", "-c", f"{luarun} {steps}")
    done = hardtack(*words, folder=run_in)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("script", [SPIN, "function run() while true do end end"])
def test_a_signal_without_a_handler_ends_a_script_that_waits_or_loops(
    user_programs: Path, tmp_path: Path, script: str
) -> None:
    steps = "script.lua buffer & sleep 0.3; kill $!; wait $! 2>/dev/null; echo $?"
    lines = shell(tmp_path, user_programs / "luarun", script, steps)
    assert lines == ["143"]


def test_a_stop_in_the_middle_of_a_script_is_not_seen_by_it(
    user_programs: Path, tmp_path: Path
) -> None:
    steps = (
        "script.lua buffer & sleep 0.3; kill -STOP $!; sleep 0.2;"
        " grep -o 'State:.T' /proc/$!/status; kill -CONT $!; wait $!; echo $?"
    )
    lines = shell(tmp_path, user_programs / "luarun", SLEEP, steps)
    assert lines == ["State:\tT", "result: 0", "0"]
