/* What Hardtack has and Linux has not: its heap in numbers, a profile of the kernel, and Lua
 * functions that run in it.
 *
 * register_lua_syscall gives a descriptor that holds a Lua state with the script; lua_syscall runs
 * the script's function run with up to 8 words and answers what it returns. close(2) frees the
 * state. errno as usual, except that what run returns below 0 and above -4096 is taken for one:
 * that is how a script passes on the error of a system call of its own.
 *
 * In a script:
 *   syscall.NAME(...)   any system call but fork, exec, exit, sigreturn and scripts (-EPERM);
 *                       arguments are numbers, the result is a number, below 0 for an error
 *   util.copyin(address, n [, size])          a table of n words of `size` bytes (4), or nil, error
 *   util.copyout(table, address, n [, size])  0 or an error
 *   util.peek(address [, size])               one word (8), or nil, error
 *   util.poke(address, value [, size])        0 or an error
 *   util.getstring(address, length), util.putstring(string, address)
 * and Lua's own functions, but no io, os, debug, ffi, package, load, dofile or collectgarbage.
 */
#ifndef HARDTACK_H
#define HARDTACK_H

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SYS_register_lua_syscall 500
#define SYS_lua_syscall 501
#define SYS_info 502
#define SYS_prof 503

/* info(what): a number of the kernel's heap; times in ns, sizes in bytes. */
enum hardtack_info {
	HARDTACK_COLLECTIONS,
	HARDTACK_PAUSES_NS,
	HARDTACK_LONGEST_PAUSE_NS,
	HARDTACK_LIVE_BYTES,
	HARDTACK_LIMIT_BYTES,
	HARDTACK_RESERVED_BYTES,
	HARDTACK_OBJECTS,
	HARDTACK_WAITS, /* calls that had to wait for a reservation */
	HARDTACK_COLLECT, /* CAP_SYS_ADMIN: collect everything first; then as LIVE_BYTES */
};

/* prof(what, period_us), CAP_SYS_ADMIN: a profile of the kernel, for /proc/hardtack/profile. */
enum hardtack_prof { HARDTACK_PROF_STOP, HARDTACK_PROF_START };
#define LUA_MOST_ARGUMENTS 8

static inline long hardtack_info(int what)
{
	return syscall(SYS_info, what);
}

/* Samples so far when it stops it. */
static inline long hardtack_prof(int what, unsigned long period_us)
{
	return syscall(SYS_prof, what, period_us);
}

static inline int register_lua_syscall(const char *script, size_t size)
{
	return (int)syscall(SYS_register_lua_syscall, script, size);
}

/* With an array of words; four and fewer travel in registers. */
static inline long lua_syscall_words(int lua_fd, unsigned count, const long *words)
{
	long given[4] = {0, 0, 0, 0};
	for (unsigned i = 0; i < count && i < 4; i++)
		given[i] = words[i];
	if (count > 4)
		given[3] = (long)(words + 3);
	return syscall(SYS_lua_syscall, lua_fd, count, given[0], given[1], given[2], given[3]);
}

/* lua_syscall(fd, 3, a, b, c), as the paper has it: the count is checked against the arguments. */
#define lua_syscall(fd, count, ...)                                                          \
	({                                                                                   \
		const long lua_words_[] = {0, ##__VA_ARGS__};                                \
		_Static_assert(sizeof lua_words_ / sizeof(long) - 1 == (count), "arguments"); \
		lua_syscall_words((fd), (count), lua_words_ + 1);                            \
	})

/* Why the script failed last (errno ENOEXEC): text into `buffer`, its length. */
static inline ssize_t lua_error(int lua_fd, char *buffer, size_t size)
{
	ssize_t length = pread(lua_fd, buffer, size - 1, 0);
	buffer[length < 0 ? 0 : length] = 0;
	return length;
}

#endif
