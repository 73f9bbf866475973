"""Does a hostile script end: at its limit, with an error, or refused, and never otherwise?"""

from __future__ import annotations

import gc
import resource

import pytest

from bus.census import HEAP
from services.script.api import FAILED, STOPPED, Limits
from tests.script.corpus import BOMBS, ENDLESS, ERRORS, REFUSED, REMOVED
from tests.script.lab import Lab

MOST_OVERRUN_S = 0.6
"""Beyond the limit; the machine may be busy. Alone it is a few milliseconds."""


@pytest.fixture(params=[True, False], ids=["jit", "interpreter"])
def lab(request: pytest.FixtureRequest) -> Lab:
    return Lab(Limits(jit=request.param))


def body(text: str) -> str:
    return f"function run(a, b) {text} end"


@pytest.mark.parametrize("name", ENDLESS)
def test_what_runs_for_ever_is_stopped_at_its_limit(lab: Lab, name: str) -> None:
    result = lab.run(body(ENDLESS[name]))
    assert result.value == STOPPED or result.memory, result
    assert result.seconds < lab.limit_s + MOST_OVERRUN_S


@pytest.mark.parametrize("name", BOMBS)
def test_what_takes_all_memory_ends_for_want_of_it(lab: Lab, name: str) -> None:
    lab.limit_s = 2.0
    result = lab.run(body(BOMBS[name]))
    assert (result.value, result.memory) == (FAILED, True), result


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_told_and_harms_nobody(lab: Lab, name: str) -> None:
    source, message = ERRORS[name]
    result = lab.run(body(source))
    assert result.value == FAILED
    assert message in result.why, result.why
    assert not result.memory
    assert "0x" not in result.why


@pytest.mark.parametrize("name", REMOVED)
def test_what_leads_out_is_not_there(lab: Lab, name: str) -> None:
    assert lab.run(body(f"return {name} == nil and 1 or 2")).value == 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_script_is_refused(lab: Lab, name: str) -> None:
    result = lab.run(REFUSED[name])
    assert result.refused, result
    assert result.why


def test_nothing_that_a_script_reaches_is_of_the_hosts(lab: Lab) -> None:
    walk = """
    local seen, odd = {}, 0
    local function visit(x)
      local kind = type(x)
      if kind == "userdata" or kind == "cdata" then odd = odd + 1 end
      if kind ~= "table" or seen[x] then return end
      seen[x] = true
      for k, v in pairs(x) do visit(k) visit(v) end
      visit(getmetatable(x))
    end
    function run() visit(_G) visit(getmetatable("")) visit(syscall.getpid) return odd end"""
    assert lab.run(walk).value == 0


def test_no_address_of_the_host_is_shown(lab: Lab) -> None:
    shown = "{tostring({}), tostring(print), tostring(run), string.format('%s %s', {}, run)}"
    source = body(f"for _, s in ipairs({shown}) do if s:find('0x', 1, true) then return 1 end end")
    assert lab.run(source).value == 0


def test_a_top_level_that_runs_for_ever_is_stopped(lab: Lab) -> None:
    result = lab.run("while true do end function run() end")
    assert result.value == STOPPED


def test_states_leave_nothing_behind() -> None:
    lab = Lab()
    for source in (*ENDLESS.values(), *BOMBS.values()):
        lab.limit_s = 0.002
        lab.run(body(source))
    gc.collect()
    live, resident = HEAP.live, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(4):
        for source in (*ENDLESS.values(), *BOMBS.values()):
            lab.run(body(source))
    gc.collect()
    assert HEAP.live == live
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    assert grown_kib < 4096, f"{grown_kib} KiB more for 250 states"


@pytest.mark.parametrize(
    "work",
    [
        "s:lower()",
        "s:upper()",
        "s:reverse()",
        "s:sub(2)",
        "s:find('b', 1, true)",
        "s:find('b')",
        "s:match('b')",
        "s:gsub('b', 'c')",
        "for _ in s:gmatch('b') do end",
    ],
)
def test_what_moves_much_is_looked_at_often(lab: Lab, work: str) -> None:
    lab.limit_s = 60
    result = lab.run(body(f"local s = ('a'):rep(90000) for i = 1, 64 do {work} end return 7"))
    assert (result.value, lab.caller.looks >= 32) == (7, True), (result, lab.caller.looks)


def test_an_error_in_a_function_of_ours_names_no_file(lab: Lab) -> None:
    result = lab.run(body("return ('x'):rep(2, {})"))
    assert "python" not in result.why, result.why
    result = lab.run(body("return ('x'):sub({})"))
    assert "bad argument" in result.why
    assert "python" not in result.why, result.why
