-- Move `count` blocks from one descriptor to another, through `buffer`: bytes moved, or an error.
local read, write = syscall.read, syscall.write
function run(from, to, buffer, size, count)
  local moved = 0
  for _ = 1, count do
    local got = read(from, buffer, size)
    if got <= 0 then return moved > 0 and moved or got end
    local done = write(to, buffer, got)
    if done < 0 then return moved > 0 and moved or done end
    moved = moved + done
  end
  return moved
end
