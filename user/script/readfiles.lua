-- Read `count` small files whole, one behind the other: `paths` are their names' addresses, lengths
-- or errors go to `lengths`. Three system calls and more for each, in one; 8,192 names at most.
local open, read, close = syscall.open, syscall.read, syscall.close
function run(paths, count, buffer, room, lengths)
  local names, why = util.copyin(paths, count, 8)
  if not names then return why end
  local taken, at = {}, 0
  for i = 1, count do
    local fd = open(names[i], 0, 0)
    local length = fd
    if fd >= 0 then
      length = read(fd, buffer + at, room - at)
      close(fd)
    end
    taken[i] = length
    if length > 0 then at = at + length end
  end
  local told = util.copyout(taken, lengths, count)
  return told < 0 and told or at
end
