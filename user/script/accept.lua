-- Accept all connections that wait, up to `most`: their descriptors as ints at `out`.
local accept4, EAGAIN, MOST_INTS = syscall.accept4, -11, 16384
function run(listener, out, most, flags)
  local accepted, count = {}, 0
  if most > MOST_INTS then most = MOST_INTS end
  while count < most do
    local fd = accept4(listener, 0, 0, flags)
    if fd < 0 then
      if fd == EAGAIN or count > 0 then break end
      return fd
    end
    count = count + 1
    accepted[count] = fd
  end
  local told = count > 0 and util.copyout(accepted, out, count) or 0
  if told < 0 then -- nobody would know of them
    for i = 1, count do syscall.close(accepted[i]) end
    return told
  end
  return count
end
