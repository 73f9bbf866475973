-- An event loop's turn: wait, and answer what has come on every ready descriptor. The descriptor is
-- the low half of its event's data. Answers the number of events; the rest goes to the program:
-- descriptors that ended or failed are ints at `ended`, and their number, if any, at `ended_count`. One
-- whose other end does not take its answers has failed, too.
local epoll_wait, read, write, copyin = syscall.epoll_wait, syscall.read, syscall.write, util.copyin
local EVENT_WORDS, DATA, EAGAIN = 3, 2, -11
function run(epoll, events, room, timeout, buffer, size, ended, ended_count)
  local ready = epoll_wait(epoll, events, room, timeout)
  if ready <= 0 then return ready end
  local words, gone = copyin(events, ready * EVENT_WORDS), {}
  for i = DATA, ready * EVENT_WORDS, EVENT_WORDS do
    local fd = words[i]
    local got, sent = read(fd, buffer, size), 0
    while sent < got do
      local done = write(fd, buffer + sent, got - sent)
      if done < 0 then break end
      sent = sent + done
    end
    if got ~= EAGAIN and (got <= 0 or sent < got) then gone[#gone + 1] = fd end
  end
  if #gone > 0 then
    util.copyout(gone, ended, #gone)
    util.poke(ended_count, #gone, 4)
  end
  return ready
end
