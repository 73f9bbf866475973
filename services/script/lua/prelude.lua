-- What every state runs first: the script's environment, and how scripts are started and resumed.
-- Arguments: addresses of the kernel's functions, and settings. Nothing of Python's comes in here.
local addresses, use_jit, looks, blocked_value, failed_value, stopped_value = ...
local ffi = require("ffi")
if use_jit then
  jit.opt.start("maxmcode=128", "sizemcode=32", "maxtrace=300")
else
  jit.off()
end
collectgarbage("setpause", 120)

local function native(name, type)
  return ffi.cast(type, ffi.cast("void *", addresses[name]))
end
local calls = {}
for arity = 0, 6 do
  calls[arity] = native("call" .. arity, "int64_t (*)(int64_t" .. (", int64_t"):rep(arity) .. ")")
end
local look_up = native("look_up", "int64_t (*)(const char *)")
local look = native("look", "int64_t (*)()")
local abandon = native("abandon", "int64_t (*)()")
local copy = native("copy", "int64_t (*)(int64_t, int64_t, int64_t)")
local scratch = ffi.cast("uint8_t *", ffi.cast("void *", addresses.scratch))
local SCRATCH_BYTES = addresses.scratch_bytes

local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local isyieldable, running = coroutine.isyieldable, coroutine.running
local error, pcall, select, tonumber = error, pcall, select, tonumber
local tostring, type, setmetatable, rawset, unpack = tostring, type, setmetatable, rawset, unpack
local getmetatable, floor, loadstring, setfenv = getmetatable, math.floor, loadstring, setfenv

-- Stopping and waiting ---------------------------------------------------------------------------

local STOP, WAIT, DONE = {}, {}, {} -- marks that no script can have
local MEMORY = "not enough memory"
local stopped = false

local function wait() -- the kernel has kept the call: give way until it has ended
  if isyieldable() then return yield(WAIT) end
  return tonumber(abandon())
end

local function stop() -- not a tail call: the message names the place
  stopped = true
  error(STOP, 0)
end

local function look_at_clock()
  local left = tonumber(look())
  if left == blocked_value then
    wait()
  elseif left < 0 then
    stop()
  end
  return looks
end

local function answer(result)
  result = tonumber(result)
  if result == blocked_value then result = wait() end
  if result == stopped_value then stop() end
  return result
end

-- The environment --------------------------------------------------------------------------------

local function checked(ok, ...) -- nothing catches a stop, or the end of memory
  if not ok and (stopped or (...) == MEMORY or (...) == STOP) then
    stopped = stopped or MEMORY
    error(STOP, 0)
  end
  return ok, ...
end

local function handled(handler, ok, ...)
  if ok then return ok, ... end
  return false, select(2, checked(pcall(handler, (...))))
end

local MOST_NESTED = 100 -- each takes some of the kernel's own stack
local nested = 0
local enter

local function left(co, ok, mark, ...)
  nested = nested - 1
  if ok and mark == WAIT then return enter(co, wait()) end
  return checked(ok, mark, ...)
end

function enter(co, ...)
  if nested >= MOST_NESTED then error("too many coroutines inside of each other", 0) end
  nested = nested + 1
  return left(co, resume(co, ...))
end

local function unwrapped(ok, ...)
  if ok then return ... end
  error((...), 0)
end

local turns = looks
local function text(value)
  local kind = type(value)
  if kind == "table" or kind == "function" or kind == "thread" or kind == "userdata" then
    local meta = getmetatable(value)
    local method = type(meta) == "table" and meta.__tostring
    if method then -- not a tail call: a method that calls this again uses up the stack
      turns = turns - 1
      if turns <= 0 then turns = look_at_clock() end
      local shown = method(value)
      return shown
    end
    return kind -- and no address of the host's
  end
  return tostring(value)
end

local env = {
  assert = assert, error = error, getmetatable = getmetatable, ipairs = ipairs, next = next,
  pairs = pairs, rawequal = rawequal, rawget = rawget, rawset = rawset, select = select,
  setmetatable = setmetatable, tonumber = tonumber, tostring = text, type = type, unpack = unpack,
  _VERSION = _VERSION,
  pcall = function(...) return checked(pcall(...)) end,
  xpcall = function(f, handler, ...) -- the handler may wait: it runs when the stack is unwound
    if type(handler) ~= "function" then
      error("bad argument #2 to 'xpcall' (function expected, got " .. type(handler) .. ")", 2)
    end
    return handled(handler, checked(pcall(f, ...)))
  end,
  coroutine = {
    create = create, isyieldable = isyieldable, running = running, status = coroutine.status,
    yield = yield,
    resume = function(co, ...) return enter(co, ...) end,
    wrap = function(f)
      local co = create(f)
      return function(...) return unwrapped(enter(co, ...)) end
    end,
  },
  bit = {}, math = {}, string = {}, table = {},
}
env._G = env
for _, name in ipairs({ "bit", "math" }) do
  for key, value in pairs(_G[name]) do env[name][key] = value end
end
for _, name in ipairs({ "byte", "char", "len", "lower", "reverse", "sub", "upper" }) do
  env.string[name] = string[name]
end

env.syscall = setmetatable({}, {
  __metatable = false,
  __index = function(bindings, name)
    if type(name) ~= "string" then return nil end
    local found = tonumber(look_up(name))
    if found < 0 then return nil end
    local number, arity = found % 65536, floor(found / 65536)
    local call, binding = calls[arity], nil
    if arity == 0 then binding = function() return answer(call(number)) end
    elseif arity == 1 then binding = function(a) return answer(call(number, a or 0)) end
    elseif arity == 2 then
      binding = function(a, b) return answer(call(number, a or 0, b or 0)) end
    elseif arity == 3 then
      binding = function(a, b, c) return answer(call(number, a or 0, b or 0, c or 0)) end
    elseif arity == 4 then
      binding = function(a, b, c, d)
        return answer(call(number, a or 0, b or 0, c or 0, d or 0))
      end
    elseif arity == 5 then
      binding = function(a, b, c, d, e)
        return answer(call(number, a or 0, b or 0, c or 0, d or 0, e or 0))
      end
    else
      binding = function(a, b, c, d, e, f)
        return answer(call(number, a or 0, b or 0, c or 0, d or 0, e or 0, f or 0))
      end
    end
    rawset(bindings, name, binding)
    return binding
  end,
})

-- User memory ------------------------------------------------------------------------------------

local TO_USER, FROM_USER = 1, 0
local EFAULT, EINVAL = -14, -22
local words = {
  [1] = ffi.cast("int8_t *", scratch), [2] = ffi.cast("int16_t *", scratch),
  [4] = ffi.cast("int32_t *", scratch), [8] = ffi.cast("int64_t *", scratch),
}

local function fits(n, size)
  return type(n) == "number" and words[size] and n >= 0 and n * size <= SCRATCH_BYTES
end

env.util = {
  copyout = function(values, address, n, size)
    size = size or 4
    if type(values) ~= "table" or not fits(n, size) then return EINVAL end
    local plain = {} -- metamethods may wait, and the buffer is everybody's
    for i = 1, n do
      local value = values[i]
      if type(value) ~= "number" then return EINVAL end
      plain[i] = value
    end
    local view = words[size]
    for i = 1, n do view[i - 1] = plain[i] end
    return answer(copy(TO_USER, address, n * size))
  end,
  copyin = function(address, n, size)
    size = size or 4
    if not fits(n, size) then return nil, EINVAL end
    local result = answer(copy(FROM_USER, address, n * size))
    if result < 0 then return nil, result end
    local view, values = words[size], {}
    for i = 1, n do values[i] = tonumber(view[i - 1]) end
    return values
  end,
  peek = function(address, size)
    size = size or 8
    if not words[size] then return nil, EINVAL end
    local result = answer(copy(FROM_USER, address, size))
    if result < 0 then return nil, result end
    return tonumber(words[size][0])
  end,
  poke = function(address, value, size)
    size = size or 8
    if not words[size] or type(value) ~= "number" then return EINVAL end
    words[size][0] = value
    return answer(copy(TO_USER, address, size))
  end,
  getstring = function(address, length)
    if not fits(length, 1) then return nil, EINVAL end
    local result = answer(copy(FROM_USER, address, length))
    if result < 0 then return nil, result end
    return ffi.string(scratch, length)
  end,
  putstring = function(s, address)
    if type(s) ~= "string" or #s > SCRATCH_BYTES then return EINVAL end
    ffi.copy(scratch, s, #s)
    return answer(copy(TO_USER, address, #s))
  end,
}

-- Starting and resuming --------------------------------------------------------------------------

local message = ""
local workers = {} -- a coroutine for each call in progress, kept for the next one

local function work(run, ...)
  return work(yield(DONE, run(...)))
end

local function fail(why)
  message = why
  return failed_value
end

local function settle(slot, ok, mark, result)
  if ok and mark == WAIT then return blocked_value end
  if ok and mark == DONE then
    local kind = type(result)
    if kind == "number" and result > -2 ^ 53 and result < 2 ^ 53 then return result end
    if kind == "nil" then return 0 end
    if kind == "boolean" then return result and 1 or 0 end
    return fail("run() returned a " .. (kind == "number" and "number that is no word" or kind))
  end
  workers[slot] = nil
  local halted = stopped
  stopped = false
  if ok then return fail("coroutine.yield outside of a coroutine") end
  if mark == MEMORY or halted == MEMORY then return fail(MEMORY) end
  if mark == STOP or halted then return stopped_value end
  local kind = type(mark)
  return fail((kind == "string" or kind == "number") and tostring(mark) or "error: a " .. kind)
end

local function start(slot, ...)
  local run = env.run
  if type(run) ~= "function" then return fail("the script has no function run") end
  local worker = workers[slot]
  if not worker then
    worker = create(work)
    workers[slot] = worker
  end
  return settle(slot, resume(worker, run, ...))
end

local function go_on(slot, result)
  return settle(slot, resume(workers[slot], result))
end

local function forget(slot) workers[slot] = nil end

local function load(source) -- its top level runs as a call does
  local chunk, why = loadstring(source, "=script")
  if not chunk then return fail(why) end
  setfenv(chunk, env)
  local worker = create(work)
  workers[0] = worker
  local result = settle(0, resume(worker, chunk, looks, look_at_clock))
  if result == failed_value or result == stopped_value then return result end
  if result == blocked_value then return result end
  return type(env.run) == "function" and 0 or fail("the script has no function run")
end

local strings = getmetatable("")
strings.__index, strings.__metatable = env.string, false
return {
  env = env, text = text, start = start, go_on = go_on, forget = forget, load = load,
  look_at_clock = look_at_clock, explain = function() return message end,
}
