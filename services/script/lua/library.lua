-- Functions of Lua's own library whose time is not bounded by what they read once: in their place
-- stand these, which look at the clock as scripts do. Cheap cases still go to the originals.
-- Before this stands: local __left, __look, string, table, math, env, text = ...
local find, match, gmatch, gsub = string.find, string.match, string.gmatch, string.gsub
local byte, sub, rep, format = string.byte, string.sub, string.rep, string.format
local insert, remove, concat, maxn = table.insert, table.remove, table.concat, table.maxn
local error, type, tostring, tonumber, select = error, type, tostring, tonumber, select
local ipairs = ipairs
local unpack, floor = unpack, math.floor

local CHEAP = 2e5 -- steps that nobody notices: a millisecond or two
local LINEAR = 1024 -- elements or bytes that cost about as much as a turn of a loop

local function charge(n)
  if n > 0 then __left = __left - floor(n / LINEAR) end
end

local function cheap(cost) -- left to the original, and counted
  if cost > CHEAP then return false end
  charge(cost)
  return true
end

local function subject(value, place, name)
  local kind = type(value)
  if kind == "number" then return tostring(value) end
  if kind ~= "string" then
    error("bad argument #" .. place .. " to '" .. name .. "' (string expected, got " .. kind .. ")",
      3)
  end
  return value
end

-- Patterns ---------------------------------------------------------------------------------------

local ESC, DASH, STAR, PLUS, QUESTION = 37, 45, 42, 43, 63
local OPEN, CLOSE, LEFT, RIGHT, CARET, DOLLAR, DOT = 40, 41, 91, 93, 94, 36, 46

-- An upper bound of the steps that the original may take: every repetition may be tried at every
-- length, from every place; a back reference or a balanced pair reads on at each.
local function steps(pattern, length)
  local turns, power, at, size = 1, 1, 1, #pattern
  while at <= size do
    local c = byte(pattern, at)
    if c == STAR or c == PLUS or c == DASH then
      power = power + 1
    elseif c == QUESTION then
      turns = turns * 2
    elseif c == ESC then
      at = at + 1
      c = byte(pattern, at)
      if c == 98 or (c and c >= 48 and c <= 57) then power = power + 1 end
    end
    at = at + 1
  end
  return turns * (length + 1) ^ power * size
end

local function class_end(p, at)
  local c = byte(p, at)
  at = at + 1
  if c == ESC then
    if at > #p then error("malformed pattern (ends with '%')", 0) end
    return at + 1
  end
  if c == LEFT then
    if byte(p, at) == CARET then at = at + 1 end
    repeat
      if at > #p then error("malformed pattern (missing ']')", 0) end
      local member = byte(p, at)
      at = at + 1
      if member == ESC then at = at + 1 end
    until byte(p, at) == RIGHT
    return at + 1
  end
  return at
end

local classes = {}
local function in_class(c, class) -- one original call for each class and byte, ever
  local known = classes[class]
  if not known then
    known = {}
    classes[class] = known
  end
  local result = known[c]
  if result == nil then
    result = find(string.char(c), "^%" .. string.char(class)) ~= nil
    known[c] = result
  end
  return result
end

local function in_set(c, p, at, last) -- from '[' to ']'
  local wanted = true
  at = at + 1
  if byte(p, at) == CARET then
    wanted = false
    at = at + 1
  end
  while at < last do
    local member = byte(p, at)
    if member == ESC then
      at = at + 1
      if in_class(c, byte(p, at)) then return wanted end
      at = at + 1
    elseif byte(p, at + 1) == DASH and at + 2 < last then
      if member <= c and c <= byte(p, at + 2) then return wanted end
      at = at + 3
    else
      if member == c then return wanted end
      at = at + 1
    end
  end
  return not wanted
end

local function single(m, at, p, last) -- whether the item p..last-1 takes the byte at `at`
  local c = byte(m.s, at)
  if not c then return false end
  local item = byte(m.p, p)
  if item == DOT then return true end
  if item == ESC then return in_class(c, byte(m.p, p + 1)) end
  if item == LEFT then return in_set(c, m.p, p, last - 1) end
  return item == c
end

local do_match

local function balanced(m, at, p)
  local open, close = byte(m.p, p, p + 1)
  if not close then error("unbalanced pattern", 0) end
  if byte(m.s, at) ~= open then return nil end
  local depth = 1
  for i = at + 1, #m.s do
    local c = byte(m.s, i)
    if c == close then
      depth = depth - 1
      if depth == 0 then return i + 1 end
    elseif c == open then
      depth = depth + 1
    end
  end
  return nil
end

local function longest(m, at, p, last)
  local n = 0
  while single(m, at + n, p, last) do n = n + 1 end
  while n >= 0 do
    local done = do_match(m, at + n, last + 1)
    if done then return done end
    n = n - 1
  end
  return nil
end

local function shortest(m, at, p, last)
  while true do
    local done = do_match(m, at, last + 1)
    if done then return done end
    if not single(m, at, p, last) then return nil end
    at = at + 1
  end
end

local function frontier(m, at, p)
  if byte(m.p, p) ~= LEFT then error("missing '[' after '%f' in pattern", 0) end
  local last = class_end(m.p, p)
  local before, after = byte(m.s, at - 1) or 0, byte(m.s, at) or 0
  if at == 1 then before = 0 end
  if in_set(before, m.p, p, last - 1) or not in_set(after, m.p, p, last - 1) then return nil end
  return do_match(m, at, last)
end

local function opened(m, at, p, length)
  if m.level >= 32 then error("too many captures", 0) end
  m.level = m.level + 1
  m.starts[m.level], m.lengths[m.level] = at, length
  local done = do_match(m, at, p)
  if not done then m.level = m.level - 1 end
  return done
end

local function closed(m, at, p)
  for level = m.level, 1, -1 do
    if m.lengths[level] == -1 then
      m.lengths[level] = at - m.starts[level]
      local done = do_match(m, at, p)
      if not done then m.lengths[level] = -1 end
      return done
    end
  end
  error("invalid pattern capture", 0)
end

local function referred(m, at, digit)
  local level = digit - 48
  if level < 1 or level > m.level or m.lengths[level] == -1 then
    error("invalid capture index", 0)
  end
  local length = m.lengths[level] == -2 and 0 or m.lengths[level]
  charge(length)
  if sub(m.s, at, at + length - 1) == sub(m.s, m.starts[level], m.starts[level] + length - 1) then
    return at + length
  end
  return nil
end

function do_match(m, at, p)
  m.depth = m.depth + 1
  if m.depth > 190 then error("pattern too complex", 0) end
  local pattern, done = m.p, nil
  while true do
    local c = byte(pattern, p)
    if not c then
      done = at
      break
    elseif c == OPEN then
      if byte(pattern, p + 1) == CLOSE then
        done = opened(m, at, p + 2, -2)
      else
        done = opened(m, at, p + 1, -1)
      end
      break
    elseif c == CLOSE then
      done = closed(m, at, p + 1)
      break
    elseif c == DOLLAR and p == #pattern then
      done = at == #m.s + 1 and at or nil
      break
    end
    local special = c == ESC and byte(pattern, p + 1)
    if special == 98 then
      at = balanced(m, at, p + 2)
      if not at then break end
      p = p + 4
    elseif special == 102 then
      done = frontier(m, at, p + 2)
      break
    elseif special and special >= 48 and special <= 57 then
      at = referred(m, at, special)
      if not at then break end
      p = p + 2
    else
      local last = class_end(pattern, p)
      local repeated = byte(pattern, last)
      if repeated == QUESTION then
        if single(m, at, p, last) then
          done = do_match(m, at + 1, last + 1)
          if done then break end
        end
        p = last + 1
      elseif repeated == STAR then
        done = longest(m, at, p, last)
        break
      elseif repeated == PLUS then
        done = single(m, at, p, last) and longest(m, at + 1, p, last) or nil
        break
      elseif repeated == DASH then
        done = shortest(m, at, p, last)
        break
      else
        if not single(m, at, p, last) then break end
        at, p = at + 1, last
      end
    end
  end
  m.depth = m.depth - 1
  return done
end

local function capture(m, level, first, last)
  if level > m.level then
    if level == 1 then return sub(m.s, first, last - 1) end
    error("invalid capture index", 0)
  end
  local length = m.lengths[level]
  if length == -2 then return m.starts[level] end
  if length == -1 then error("unfinished capture", 0) end
  return sub(m.s, m.starts[level], m.starts[level] + length - 1)
end

local function captures(m, first, last, whole)
  local list, count = {}, m.level
  if count == 0 and whole then count = 1 end
  for level = 1, count do list[level] = capture(m, level, first, last) end
  return list, count
end

local function matcher(s, pattern)
  local anchored = byte(pattern, 1) == CARET
  return { s = s, p = pattern, starts = {}, lengths = {}, level = 0, depth = 0,
    first = anchored and 2 or 1, anchored = anchored }
end

local function next_match(m, at)
  repeat
    m.level, m.depth = 0, 0
    local last = do_match(m, at, m.first)
    if last then return at, last end
    at = at + 1
  until at > #m.s + 1 or m.anchored
  return nil
end

local function from(s, init)
  init = floor(tonumber(init) or 1)
  if init < 0 then init = #s + init + 1 end
  if init < 1 then init = 1 end
  return init
end

local function plain(s, wanted, at) -- by its first bytes; then the whole of what may be it
  local head, size = sub(wanted, 1, 32), #wanted
  while true do
    charge(#s - at)
    at = find(s, head, at, true)
    if not at then return nil end
    charge(2 * size)
    if sub(s, at, at + size - 1) == wanted then return at, at + size - 1 end
    at = at + 1
  end
end

env.string.find = function(s, pattern, init, is_plain)
  s, pattern = subject(s, 1, "find"), subject(pattern, 2, "find")
  if is_plain or not find(pattern, "[%^%$%*%+%?%.%(%[%%%-]") then
    if cheap(#s * #pattern) then return find(s, pattern, init, true) end
    local at = from(s, init)
    if at > #s + 1 then return nil end
    return plain(s, pattern, at)
  end
  if cheap(steps(pattern, #s)) then return find(s, pattern, init) end
  local at = from(s, init)
  if at > #s + 1 then return nil end
  local m = matcher(s, pattern)
  local first, last = next_match(m, at)
  if not first then return nil end
  local list, count = captures(m, first, last, false)
  return first, last - 1, unpack(list, 1, count)
end

env.string.match = function(s, pattern, init)
  s, pattern = subject(s, 1, "match"), subject(pattern, 2, "match")
  if cheap(steps(pattern, #s)) then return match(s, pattern, init) end
  local at = from(s, init)
  if at > #s + 1 then return nil end
  local m = matcher(s, pattern)
  local first, last = next_match(m, at)
  if not first then return nil end
  local list, count = captures(m, first, last, true)
  return unpack(list, 1, count)
end

env.string.gmatch = function(s, pattern)
  s, pattern = subject(s, 1, "gmatch"), subject(pattern, 2, "gmatch")
  local cost = steps(pattern, #s)
  if cheap(cost) then
    local next_one = gmatch(s, pattern)
    return function()
      charge(cost)
      return next_one()
    end
  end
  local m, at = matcher(s, pattern), 1
  m.first, m.anchored = 1, false -- a caret means itself here
  return function()
    if at > #s + 1 then return nil end
    local first, last = next_match(m, at)
    if not first then
      at = #s + 2
      return nil
    end
    at = last == first and last + 1 or last
    local list, count = captures(m, first, last, true)
    return unpack(list, 1, count)
  end
end
env.string.gfind = nil

local function expanded(m, replacement, first, last)
  local pieces, n, at = {}, 0, 1
  while at <= #replacement do
    local c = byte(replacement, at)
    n = n + 1
    if c ~= ESC then
      pieces[n] = sub(replacement, at, at)
    else
      at = at + 1
      c = byte(replacement, at)
      if c and c >= 48 and c <= 57 then
        pieces[n] = c == 48 and sub(m.s, first, last - 1) or capture(m, c - 48, first, last)
      else
        pieces[n] = sub(replacement, at, at)
      end
    end
    at = at + 1
  end
  return concat(pieces)
end

local function substitute(m, replacement, kind, first, last)
  local value
  if kind == "string" then return expanded(m, replacement, first, last) end
  local list, count = captures(m, first, last, true)
  if kind == "function" then
    value = replacement(unpack(list, 1, count))
  else
    value = replacement[list[1]]
  end
  if not value then return sub(m.s, first, last - 1) end
  if type(value) ~= "string" and type(value) ~= "number" then
    error("invalid replacement value (a " .. type(value) .. ")", 0)
  end
  return tostring(value)
end

env.string.gsub = function(s, pattern, replacement, limit)
  s, pattern = subject(s, 1, "gsub"), subject(pattern, 2, "gsub")
  local kind = type(replacement)
  if kind == "number" then replacement, kind = tostring(replacement), "string" end
  if kind ~= "string" and kind ~= "table" and kind ~= "function" then
    error("bad argument #3 to 'gsub' (string/function/table expected, got " .. kind .. ")", 2)
  end
  local cost = steps(pattern, #s)
  if kind == "string" then cost = cost + #s * #replacement end
  if kind == "string" and cheap(cost) then return gsub(s, pattern, replacement, limit) end
  local m, pieces, at, count = matcher(s, pattern), {}, 1, 0
  limit = limit and floor(limit) or #s + 1
  while count < limit do
    m.level, m.depth = 0, 0
    local last = do_match(m, at, m.first)
    if last then
      count = count + 1
      pieces[#pieces + 1] = substitute(m, replacement, kind, at, last)
    end
    if last and last > at then
      at = last
    elseif at <= #s then
      pieces[#pieces + 1] = sub(s, at, at)
      at = at + 1
    else
      break
    end
    if m.anchored then break end
  end
  pieces[#pieces + 1] = sub(s, at)
  return concat(pieces), count
end

-- Other functions of strings ---------------------------------------------------------------------

env.string.rep = function(s, n, separator)
  s = subject(s, 1, "rep")
  charge(#s * (tonumber(n) or 0))
  return rep(s, n, separator)
end

for _, name in ipairs({ "lower", "reverse", "upper" }) do
  local original = env.string[name]
  env.string[name] = function(s)
    s = subject(s, 1, name)
    charge(#s)
    return original(s)
  end
end

env.string.sub = function(s, first, last)
  local piece = sub(s, first, last)
  charge(#piece)
  return piece
end

local our_gsub, our_find = env.string.gsub, env.string.find
env.string.format = function(layout, ...)
  layout = subject(layout, 1, "format")
  if find(layout, "p", 1, true) then
    local bare = our_gsub(layout, "%%%%", "")
    if our_find(bare, "%%[^%a%%]*p") then error("no %p: it would show addresses", 2) end
  end
  local values, count = { ... }, select("#", ...)
  for i = 1, count do
    local kind = type(values[i])
    if kind ~= "number" and kind ~= "string" then values[i] = text(values[i]) end
  end
  charge(#layout)
  return format(layout, unpack(values, 1, count))
end

-- Tables -----------------------------------------------------------------------------------------

env.table.maxn = function(t)
  charge(#t)
  return maxn(t)
end

env.table.concat = function(t, separator, first, last)
  charge(8 * #t)
  return concat(t, separator, first, last)
end

env.table.insert = function(t, ...)
  if select("#", ...) == 1 then
    local value = ...
    t[#t + 1] = value
    return
  end
  charge(8 * #t)
  local place = tonumber((...))
  if not place or not (place >= 1 and place <= #t + 1) then -- the original would shift for ever
    error("bad argument #2 to 'insert' (position out of bounds)", 2)
  end
  insert(t, ...)
end

env.table.remove = function(t, place)
  if place then charge(8 * #t) end
  return remove(t, place)
end

local function less(a, b)
  if type(a) == "string" then charge(#a) end
  return a < b
end

env.table.sort = function(t, before)
  before = before or less
  local from_list, n, width = {}, #t, 1
  for i = 1, n do from_list[i] = t[i] end
  local to_list = {}
  while width < n do -- merge runs of `width`
    for low = 1, n, 2 * width do
      local middle, high = low + width, low + 2 * width
      if middle > n + 1 then middle = n + 1 end
      if high > n + 1 then high = n + 1 end
      local left, right = low, middle
      for k = low, high - 1 do
        if left < middle and (right >= high or not before(from_list[right], from_list[left])) then
          to_list[k] = from_list[left]
          left = left + 1
        else
          to_list[k] = from_list[right]
          right = right + 1
        end
      end
    end
    from_list, to_list = to_list, from_list
    width = 2 * width
  end
  for i = 1, n do t[i] = from_list[i] end
end

