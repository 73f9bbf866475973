#include "scripts.h"

#include "hardtack.h"

#define SCRIPT(name, file)                                                                       \
	__asm__(".section .rodata\ntext_" #name ":\n.incbin \"" file "\"\ntext_" #name       \
		"_end:\n.previous\n");                                                           \
	extern const char text_##name[], text_##name##_end[];                                \
	static int name##_fd(void)                                                               \
	{                                                                                        \
		static int fd = -1;                                                              \
		if (fd < 0)                                                                      \
			fd = register_lua_syscall(text_##name,                                 \
						  (size_t)(text_##name##_end - text_##name)); \
		return fd;                                                                       \
	}

SCRIPT(accept, "script/accept.lua")
SCRIPT(echo, "script/echo.lua")
SCRIPT(copy, "script/copy.lua")
SCRIPT(readfiles, "script/readfiles.lua")
SCRIPT(statmany, "script/statmany.lua")
SCRIPT(figure1, "figure1.lua")

#define RUN(name, count, ...) (name##_fd() < 0 ? -1 : lua_syscall(name##_fd(), count, __VA_ARGS__))

int script_accept_many(int listener, int *out, int most, int flags)
{
	return (int)RUN(accept, 4, listener, (long)out, most, flags);
}

int script_echo(int epoll, struct epoll_event *events, int room, int timeout, char *buffer,
		size_t size, int *ended, int *ended_count)
{
	return (int)RUN(echo, 8, epoll, (long)events, room, timeout, (long)buffer, (long)size,
			(long)ended, (long)ended_count);
}

long script_copy(int from, int to, char *buffer, size_t size, int count)
{
	return RUN(copy, 5, from, to, (long)buffer, (long)size, count);
}

long script_read_files(const char *const *paths, int count, char *buffer, size_t room, int *lengths)
{
	return RUN(readfiles, 5, (long)paths, count, (long)buffer, (long)room, (long)lengths);
}

int script_stat_many(const char *const *paths, int count, struct stat *out)
{
	return (int)RUN(statmany, 3, (long)paths, count, (long)out);
}

int script_receive(int fd, char *buffers, char *addresses, unsigned *address_lengths, int *received,
		   int most)
{
	return (int)RUN(figure1, 6, fd, (long)buffers, (long)addresses, (long)address_lengths,
			(long)received, most);
}
