/*
 * LD_PRELOAD=libbatch.so SERVER: datagrams in batches, for a server that knows nothing of it.
 *
 * A server that waits with epoll and takes and answers one datagram at a time (memcached over UDP)
 * makes three system calls for each. This library stands between it and the C library: answers are
 * gathered, and when there is nothing left to do, one lua_syscall sends them, waits for events, and
 * receives up to BATCH datagrams, which are then handed out one by one. The script is batch.lua.
 *
 * What the server sees is what it would have seen: addresses, lengths and order are those of the
 * datagrams. Two things differ: an error of sending is not told (UDP promises nothing), and
 * datagrams that lie here, not in the socket, are lost if the server closes it. While datagrams
 * wait here, epoll_wait says that the socket is readable; every BATCH of them the kernel is asked
 * for other events too. Each socket belongs to the thread that first receives from it; MSG_PEEK
 * and other flags go to the kernel as they are.
 *
 * BATCH (16, as in the paper; at most 64) is an environment variable. Where the kernel has no
 * scripts, nothing is changed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "hardtack.h"

enum { MOST = 64, LARGEST = 65536, ROOM = 131072, ANSWERS_ROOM = 131072, DESCRIPTORS = 65536 };

/* Shared with batch.lua, which knows the offsets. */
struct batch {
	int64_t reserved[8];
	struct {
		int64_t data, length, name, name_length;
	} out[MOST];
	int32_t lengths[MOST];
	uint32_t name_lengths[MOST];
	char names[MOST][128];
	char data[ROOM];
	/* The script knows nothing of what follows. */
	char answers[ANSWERS_ROOM], answer_names[MOST][128];
	int fd, epoll, gathered, answers_end, received, next, at;
	struct epoll_event event;
};

_Static_assert(offsetof(struct batch, lengths) == 64 + MOST * 32, "as batch.lua has it");
_Static_assert(offsetof(struct batch, data) == 64 + MOST * (32 + 4 + 4 + 128), "as batch.lua has it");

__asm__(".section .rodata\nbatch_script:\n.incbin \"script/batch.lua\"\nbatch_script_end:\n.previous\n");
extern const char batch_script[], batch_script_end[];

static ssize_t (*next_recvfrom)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
static ssize_t (*next_sendmsg)(int, const struct msghdr *, int);
static int (*next_epoll_wait)(int, struct epoll_event *, int, int);
static int (*next_epoll_ctl)(int, int, int, struct epoll_event *);
static int (*next_close)(int);
static int lua = -1, most = 16;
static struct batch *sockets[DESCRIPTORS];
static signed char kinds[DESCRIPTORS]; /* 0: not looked at, 1: a datagram socket, -1: something else */
static struct {
	int epoll;
	struct epoll_event event;
} interests[DESCRIPTORS];
static __thread struct batch *mine; /* the socket that this thread serves */

__attribute__((constructor)) static void begin(void)
{
	const char *wanted = getenv("BATCH");
	next_recvfrom = dlsym(RTLD_NEXT, "recvfrom");
	next_sendmsg = dlsym(RTLD_NEXT, "sendmsg");
	next_epoll_wait = dlsym(RTLD_NEXT, "epoll_wait");
	next_epoll_ctl = dlsym(RTLD_NEXT, "epoll_ctl");
	next_close = dlsym(RTLD_NEXT, "close");
	if (wanted)
		most = atoi(wanted);
	if (most < 1 || most > MOST)
		most = 16;
	lua = register_lua_syscall(batch_script, (size_t)(batch_script_end - batch_script));
}

static struct batch *batch_of(int fd)
{
	int type = 0, domain = 0;
	socklen_t length = sizeof type;
	if (lua < 0 || fd < 0 || fd >= DESCRIPTORS || kinds[fd] < 0)
		return NULL;
	if (kinds[fd] > 0)
		return sockets[fd];
	int saved = errno;
	kinds[fd] = -1;
	if (!mine && !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) && type == SOCK_DGRAM &&
	    !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) &&
	    (domain == AF_INET || domain == AF_INET6) && (sockets[fd] = calloc(1, sizeof *mine))) {
		kinds[fd] = 1;
		mine = sockets[fd];
		mine->fd = fd;
		mine->epoll = interests[fd].epoll;
		mine->event = interests[fd].event;
	}
	errno = saved;
	return sockets[fd];
}

/* One trap: send what was gathered; where there is room for events, wait; receive if `take`. */
static int trap(struct batch *b, int take, int epoll, struct epoll_event *events, int room, int timeout)
{
	long answer = lua_syscall(lua, 8, b->fd, (long)b, b->gathered, take, epoll, (long)events, room,
				  timeout);
	b->gathered = b->answers_end = 0;
	if (answer < 0)
		return -1;
	if (take) {
		b->received = (int)(answer >> 16);
		b->next = b->at = 0;
	}
	return (int)(answer & 0xffff);
}

ssize_t recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *name,
		 socklen_t *name_length)
{
	struct batch *b = flags & ~MSG_DONTWAIT ? NULL : batch_of(fd);
	if (!b)
		return next_recvfrom(fd, buffer, size, flags, name, name_length);
	if (b->next == b->received) { /* what has come is told by epoll_wait, but who asks is answered */
		if (trap(b, most, -1, NULL, 0, 0) < 0)
			return -1;
		if (!b->received) {
			errno = EAGAIN;
			return -1;
		}
	}
	int i = b->next++;
	size_t length = (size_t)b->lengths[i];
	memcpy(buffer, b->data + b->at, length < size ? length : size);
	b->at += (int)((length + 15) / 16 * 16);
	if (name && name_length) {
		socklen_t whole = b->name_lengths[i];
		memcpy(name, b->names[i], whole < *name_length ? whole : *name_length);
		*name_length = whole;
	}
	return (ssize_t)(length < size ? length : size);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct batch *b = fd >= 0 && fd < DESCRIPTORS && kinds[fd] > 0 ? sockets[fd] : NULL;
	size_t length = 0;
	for (size_t i = 0; b && i < message->msg_iovlen; i++)
		length += message->msg_iov[i].iov_len;
	if (!b || flags & ~MSG_NOSIGNAL || message->msg_controllen || !message->msg_name ||
	    message->msg_namelen > 128 || length > LARGEST)
		return next_sendmsg(fd, message, flags);
	if ((b->gathered == MOST || b->answers_end + (int)length > ANSWERS_ROOM) &&
	    trap(b, 0, -1, NULL, 0, 0) < 0)
		return -1;
	char *to = b->answers + b->answers_end, *from = to;
	for (size_t i = 0; i < message->msg_iovlen; i++)
		to = mempcpy(to, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
	int i = b->gathered++;
	memcpy(b->answer_names[i], message->msg_name, message->msg_namelen);
	b->out[i].data = (int64_t)from;
	b->out[i].length = (int64_t)length;
	b->out[i].name = (int64_t)b->answer_names[i];
	b->out[i].name_length = message->msg_namelen;
	b->answers_end = (int)(to - b->answers);
	return (ssize_t)length;
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	if (fd >= 0 && fd < DESCRIPTORS) {
		interests[fd].epoll = operation == EPOLL_CTL_DEL ? -1 : epoll;
		if (operation != EPOLL_CTL_DEL && event)
			interests[fd].event = *event;
		if (kinds[fd] > 0) {
			sockets[fd]->epoll = interests[fd].epoll;
			sockets[fd]->event = interests[fd].event;
		}
	}
	return next_epoll_ctl(epoll, operation, fd, event);
}

int epoll_wait(int epoll, struct epoll_event *events, int room, int timeout)
{
	struct batch *b = mine;
	if (!b || b->epoll != epoll || room < 1 || !(b->event.events & EPOLLIN))
		return next_epoll_wait(epoll, events, room, timeout);
	if (b->next == b->received) {
		int ready = trap(b, most, epoll, events, room < 1024 ? room : 1024, timeout);
		if (ready < 0 || b->received == 0)
			return ready;
		for (int i = 0; i < ready; i++) /* its own event is told last, and below */
			if (events[i].data.u64 == b->event.data.u64)
				events[i--] = events[--ready];
		if (ready)
			return ready < room ? (events[ready] = (struct epoll_event){EPOLLIN, b->event.data},
					       ready + 1)
					    : ready;
	}
	events[0] = (struct epoll_event){.events = EPOLLIN, .data = b->event.data};
	return 1;
}

int close(int fd)
{
	if (fd >= 0 && fd < DESCRIPTORS && kinds[fd]) {
		struct batch *b = sockets[fd];
		if (b && b->gathered)
			trap(b, 0, -1, NULL, 0, 0);
		if (b && b == mine)
			mine = NULL;
		sockets[fd] = NULL;
		kinds[fd] = 0;
		free(b);
	}
	return next_close(fd);
}
