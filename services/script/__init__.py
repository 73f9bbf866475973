"""System calls as scripts: Lua states, what they may see, and their limits."""
