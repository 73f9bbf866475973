function run(sfd, buf_addr, sockaddr_addr,
  sockaddr_len_addr, recv_uaddr, max_batch)
  local recvfrom = syscall.recvfrom
  local copyout = util.copyout
  local nrecv_array = {}

  local nreq = 0
  while nreq < max_batch do
    -- 1024 is the size of buffer
    -- 16 is the size of struct sockaddr
    -- 4 is the size of socklen_t
    local buf_offset = nreq * 1024
    local sockaddr_offset = nreq * 28
    local sockaddr_len_offset = nreq * 4
    local byte_recv = recvfrom(sfd,
      buf_addr + buf_offset,
      1024, 0,
      sockaddr_addr + sockaddr_offset,
      sockaddr_len_addr + sockaddr_len_offset)
    if byte_recv > 8 then
      nreq = nreq + 1
      nrecv_array[nreq] = byte_recv
    elseif byte_recv > 0 then
      -- do nothing
    else
      if byte_recv == -4 then
        -- -4 is EINTR
        -- do nothing
      elseif byte_recv == -11 then
        -- -11 is EAGAIN (the paper's FreeBSD has -35)
        break
      else
        return -1
      end
    end
  end

  if nreq > 0 then
    copyout(nrecv_array, recv_uaddr, nreq)
  end

  return nreq
end
