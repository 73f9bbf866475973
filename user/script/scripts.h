/* Ready-made scripts, as functions: each state is registered when it is first used. -1 and errno as
 * usual; ENOSYS where the kernel has no scripts. */
#ifndef SCRIPTS_H
#define SCRIPTS_H

#include <sys/epoll.h>
#include <sys/stat.h>

/* accept.lua: up to `most` descriptors into `out`; 0 if none wait. */
int script_accept_many(int listener, int *out, int most, int flags);
/* echo.lua: one turn of an event loop that answers all that comes. */
int script_echo(int epoll, struct epoll_event *events, int room, int timeout, char *buffer,
		size_t size, int *ended, int *ended_count);
/* copy.lua: `count` blocks between two descriptors. */
long script_copy(int from, int to, char *buffer, size_t size, int count);
/* readfiles.lua: small files, one behind the other. */
long script_read_files(const char *const *paths, int count, char *buffer, size_t room, int *lengths);
/* statmany.lua: how many of the names are there. */
int script_stat_many(const char *const *paths, int count, struct stat *out);
/* figure1.lua: the paper's; datagrams of 1024 bytes, addresses of 28. */
int script_receive(int fd, char *buffers, char *addresses, unsigned *address_lengths, int *received,
		   int most);

#endif
