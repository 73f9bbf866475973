# ruff: noqa: E501 (programs in one line)
"""Hostile scripts: bodies of run() by what they try, or whole scripts where they are refused."""

from __future__ import annotations

ENDLESS = {
    "while": "while true do end",
    "while with work": "local x = 0 while true do x = x + 1 end",
    "nested": "while true do for i = 1, 1000 do for j = 1, 1000 do end end end",
    "repeat": "repeat until false",
    "repeat pcall": "repeat pcall(error) until false",
    "for": "for i = 1, math.huge do end",
    "for step 0": "for i = 1, 2, 0 do end",
    "for in": "for k in function() return 1 end do end",
    "goto": "::again:: goto again",
    "goto backwards out of blocks": "::a:: do do goto b end end ::b:: if true then goto a end",
    "tail call": "local function f() return f() end f()",
    "mutual tail calls": "local g local function f() return g() end g = function() return f() end f()",
    "method tail call": "local t = {} function t:f() return self:f() end t:f()",
    "recursion in pcall": "local function f() pcall(f) pcall(f) end f()",
    "loop in pcall": "pcall(function() while true do end end) return 1",
    "loop in xpcall": "xpcall(function() while true do end end, function() return 1 end) return 1",
    "loop in a handler": "xpcall(error, function() while true do end end)",
    "pcall of pcall": "while true do pcall(pcall, pcall, error) end",
    "coroutine": "coroutine.wrap(function() while true do end end)()",
    "coroutines": "while true do coroutine.wrap(function() coroutine.yield() end)() end",
    "coroutine that is resumed":
        "local co = coroutine.create(function() while true do coroutine.yield() end end)"
        " while true do coroutine.resume(co) end",
    "stop caught in a coroutine":
        "coroutine.resume(coroutine.create(function() while true do end end)) return 1",
    "metatable index":
        "local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
    "metatable call": "local t = setmetatable({}, {__call = function(s) return s() end}) t()",
    "metatable tostring":
        "tostring(setmetatable({}, {__tostring = function() while true do end end}))",
    "count poisoned by a negative length":
        "string.rep('x', -1e300) return ('a'):rep(20000):find(('.-'):rep(20) .. 'b')",
    "metatable concat":
        "local t = setmetatable({}, {__concat = function() while true do end end}) return t .. t",
    "metatable eq":
        "local m = {__eq = function() while true do end end}"
        " return setmetatable({}, m) == setmetatable({}, m)",
    "comparison": "table.sort({3, 2, 1}, function() while true do end end)",
    "substitution": "string.gsub('abc', '.', function() while true do end end)",
    "pattern of optional bytes":
        "string.find(string.rep('a', 30), string.rep('a?', 30) .. string.rep('a', 30) .. 'b')",
    "pattern of repetitions": "string.match(string.rep('a', 5000), string.rep('a*', 20) .. 'b')",
    "pattern of short repetitions": "string.match(string.rep('a', 5000), string.rep('.-', 12) .. 'b')",
    "pattern in gmatch": "for _ in string.gmatch(string.rep('a', 9000), '.-.-.-.-b') do end",
    "pattern in gsub": "string.gsub(string.rep('a', 9000), '.-.-.-.-b', '')",
    "pattern by method": "return (('a'):rep(9000)):find(('.-'):rep(9) .. 'b')",
    "back references": "string.match(string.rep('a', 3000), '(.-)(.-)%1%2%1b')",
    "frontiers": "string.find(string.rep('a ', 4000), ('.-%f[%w].-'):rep(6) .. 'b')",
    "balanced": "string.find(string.rep('(', 200000), '.-%b().-%b()b')",
    "plain search":
        "local s = string.rep('a', 200000) while true do s:find(string.rep('a', 90000) .. 'b', 1, true) end",
    "long strings compared":
        "local a, t = string.rep('x', 300000), {} for i = 1, 9000 do t[i] = i % 2 == 0 and a .. 'a' or"
        " a .. 'b' end while true do table.sort(t) end",
    "insertions": "local t = {} for i = 1, 20000 do t[i] = i end while true do table.insert(t, 1, 0)"
        " table.remove(t, 1) end",
    "copies": "local a = string.rep('x', 300000) while true do local b = a .. 'y' end",
    "formats": "while true do string.format('%99.99f %s', 1e300, 'x') end",
    "system calls": "while true do syscall.getpid() end",
    "bad copies": "local t = {1} while true do util.copyout(t, 0, 1) end",
    "unpacking": "local t = {} for i = 1, 5000 do t[i] = i end while true do select('#', unpack(t)) end",
    "traces": "local f = {} for i = 1, 200 do f[i] = function(x) for j = 1, 60 do x = x + i end return x"
        " end end while true do for i = 1, 200 do f[i](i) end end",
}  # fmt: skip

BOMBS = {
    "table": "local t = {} for i = 1, 1e9 do t[i] = i end",
    "tables": "local t = {} while true do t = {t, t} end",
    "strings": "local t = {} while true do t[#t + 1] = ('x'):rep(#t) end",
    "doubling": "local s = 'x' while true do s = s .. s end",
    "rep": "return #string.rep('x', 1e9)",
    "rep by method": "return #('x'):rep(2 ^ 30)",
    "rep in pcall": "pcall(string.rep, 'x', 1e9) return 1",
    "pcall for ever": "while true do pcall(string.rep, 'x', 1e9) end",
    "xpcall": "xpcall(string.rep, function() return 1 end, 'x', 1e9) return 1",
    "coroutine": "coroutine.resume(coroutine.create(string.rep), 'x', 1e9) return 1",
    "concat": "local t = {} for i = 1, 999 do t[i] = ('x'):rep(999) end return #table.concat(t, t[1])",
    "gsub": "return #string.gsub(('x'):rep(999), 'x', ('y'):rep(99999))",
    "gsub with a function": "return #string.gsub(('x'):rep(9999), 'x', function() return ('y'):rep(9999) end)",
    "format": "local s = ('x'):rep(400000) return #string.format('%s%s%s%s', s, s, s, s)",
    "closures": "local t = {} while true do local x = {} t[#t + 1] = function() return x end end",
    "coroutines": "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
    "globals": "local n = 0 while true do n = n + 1 _G['v' .. n] = n end",
    "upper": "local s = ('x'):rep(400000) return #(s:upper() .. s:reverse() .. s:lower())",
}  # fmt: skip

ERRORS = {
    "deep recursion": ("local function f() return 1 + f() end f()", "stack overflow"),
    "deep coroutines":
        ("local function f() return coroutine.wrap(f)() end f()", "inside of each other"),
    "error object": ("error({})", "error: a table"),
    "error object with a trap":
        ("error(setmetatable({}, {__tostring = function() while true do end end}))", "error: a table"),
    "error of nil": ("error()", "error: a nil"),
    "yield of nothing": ("coroutine.yield(1)", "coroutine.yield outside"),
    "result": ("return {}", "run() returned a table"),
    "result that is no number": ("return 0/0", "no word"),
    "result that is too large": ("return 2^63", "no word"),
    "pretended failure": ("return -2^61", "no word"),
    "pretended block": ("return -2^60", "no word"),
    "table for a word": ("syscall.read({}, 1, 2)", "cannot convert"),
    "string for a word": ("syscall.read('0', 1, 2)", "cannot convert"),
    "unknown call": ("syscall.nonsense()", "attempt to call field 'nonsense'"),
    "metatable of bindings": ("setmetatable(syscall, {})", "protected"),
    "metatable of strings": ("setmetatable(getmetatable('') or {}, {}) getmetatable('').x = 1", "boolean"),
    "unpack": ("return select('#', unpack({}, 1, 1e8))", "too many results"),
    "addresses": ("return string.format('%p', {})", "no %p"),
    "addresses, hidden": ("return string.format('%%%-20p', {})", "no %p"),
    "finaliser": ("newproxy(true)", "newproxy"),
    "environments": ("getfenv(0)", "getfenv"),
    "environments, set": ("setfenv(run, {})", "setfenv"),
}  # fmt: skip

_REMOVED = """
io os debug ffi package jit require module load loadstring loadfile dofile print python newproxy getfenv
setfenv collectgarbage gcinfo string.dump string.gfind table.foreach table.getn coroutine.close math.mod
"""
REMOVED = _REMOVED.split()

REFUSED = {
    "byte code": b"\x1bLJ\x02\x00\x00",
    "byte code behind a comment": b"--\n\x1bLJ",
    "nothing": b"",
    "no run": b"local x = 1",
    "syntax": b"function run( end",
    "a NUL": b"function run() return '\0' end",
    "unfinished string": b"function run() return 'abc\n' end",
    "unfinished comment": b"--[[ function run() end",
    "boxed numbers": b"function run() return 1LL end",
    "the counter": b"function run() __left = 1e9 while true do end end",
    "the look": b"__look = nil function run() end",
    "error at the top": b"error('no') function run() end",
    "deep nesting": b"function run() return " + b"(" * 5000 + b"1" + b")" * 5000 + b" end",
    "many locals": b"function run() " + b"local a " * 300 + b" end",
}
