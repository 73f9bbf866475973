"""`hardtack campaign`: services are crashed, hung and slowed under a mixed load; who notices?

A kernel runs NGINX, Redis, a shell script, SQLite and a Lua script, on a disk image. Each step
strikes one service with one fault, at a moment that the seed chooses, waits until the service is
there again and every program has gone on, and counts what programs saw. At the end a kernel boots
afresh on the same image, and everything that was acknowledged is looked for.

`inside` has what runs in the kernel, `loads` and `ledger` what is asked of it and found, `kernel`
boots it, `strike` injects, `report` tells.
"""
