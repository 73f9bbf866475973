-- An event loop's turn: wait, and answer what has come on every ready descriptor. The descriptor is
-- the low half of its event's data. Answers the number of events; the rest goes to the program:
-- descriptors that ended or failed are ints at `ended`, their number at `ended_count`.
local epoll_wait, read, write, peek = syscall.epoll_wait, syscall.read, syscall.write, util.peek
local EVENT_BYTES, DATA, EAGAIN = 12, 4, -11
function run(epoll, events, room, timeout, buffer, size, ended, ended_count)
  local ready = epoll_wait(epoll, events, room, timeout)
  local gone = {}
  for i = 0, ready - 1 do
    local fd = peek(events + i * EVENT_BYTES + DATA, 4)
    local got = read(fd, buffer, size)
    if got > 0 then got = write(fd, buffer, got) end
    if got <= 0 and got ~= EAGAIN then gone[#gone + 1] = fd end
  end
  if #gone > 0 then util.copyout(gone, ended, #gone) end
  util.poke(ended_count, #gone, 4)
  return ready
end
