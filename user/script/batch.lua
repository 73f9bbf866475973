-- The event loop of a server of datagrams, in one system call: send the answers that were gathered,
-- wait for events, receive what has come, as many datagrams as fit.
--
-- At `control` lies struct batch of batch.c: first what it was told and what is answered, then
-- answers to be sent as four words each (data, length, address, address's length), then lengths,
-- addresses and data of what was received, one datagram behind the other.
local MOST, LARGEST, ROOM = 64, 65536, 131072
local OUT = 64
local LENGTHS = OUT + MOST * 32
local NAME_LENGTHS = LENGTHS + MOST * 4
local NAMES = NAME_LENGTHS + MOST * 4
local DATA = NAMES + MOST * 128
local MSG_DONTWAIT, EINTR = 64, -4
local recvfrom, sendto, epoll_wait = syscall.recvfrom, syscall.sendto, syscall.epoll_wait
local copyin, copyout, poke, floor = util.copyin, util.copyout, util.poke, math.floor
local lengths, full = {}, {}
for i = 1, MOST do full[i] = 128 end

local function send(fd, control, count)
  local out = copyin(control + OUT, count * 4, 8)
  for i = 1, count * 4, 4 do
    sendto(fd, out[i], out[i + 1], MSG_DONTWAIT, out[i + 2], out[i + 3])
  end
end

local function receive(fd, control, most)
  local count, at = 0, 0
  copyout(full, control + NAME_LENGTHS, most)
  while count < most and at <= ROOM - LARGEST do
    local got = recvfrom(fd, control + DATA + at, LARGEST, MSG_DONTWAIT,
      control + NAMES + count * 128, control + NAME_LENGTHS + count * 4)
    if got < 0 then break end
    count = count + 1
    lengths[count] = got
    at = at + floor((got + 15) / 16) * 16
  end
  if count > 0 then copyout(lengths, control + LENGTHS, count) end
  return count
end

-- Events, and 65536 for every datagram; an error of epoll_wait as it is.
function run(fd, control, answers, most, epoll, events, room, timeout)
  if answers > 0 then send(fd, control, answers) end
  local ready = 0
  if room > 0 then
    ready = epoll_wait(epoll, events, room, timeout)
    if ready < 0 then return ready end
  end
  if most == 0 then return ready end
  return receive(fd, control, most) * 65536 + ready
end
