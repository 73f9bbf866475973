-- Accept all connections that wait, up to `most`: their descriptors as ints at `out`.
local accept4, EAGAIN = syscall.accept4, -11
function run(listener, out, most, flags)
  local accepted, count = {}, 0
  while count < most do
    local fd = accept4(listener, 0, 0, flags)
    if fd < 0 then
      if fd == EAGAIN or count > 0 then break end
      return fd
    end
    count = count + 1
    accepted[count] = fd
  end
  if count > 0 then util.copyout(accepted, out, count) end
  return count
end
