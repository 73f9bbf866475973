-- Move `count` blocks from one descriptor to another, through `buffer`: bytes moved, or an error. What
-- cannot be written is always told, as what was read then is lost: `to` should be one that blocks.
local read, write = syscall.read, syscall.write
function run(from, to, buffer, size, count)
  local moved = 0
  for _ = 1, count do
    local got = read(from, buffer, size)
    if got <= 0 then return moved > 0 and moved or got end
    local sent = 0
    while sent < got do
      local done = write(to, buffer + sent, got - sent)
      if done < 0 then return done end
      sent = sent + done
    end
    moved = moved + got
  end
  return moved
end
