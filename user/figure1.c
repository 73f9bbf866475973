/* The paper's figure 1, from C: datagrams of several senders, received with one system call. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "hardtack.h"

enum { BATCH = 16, BUFFER = 1024, ADDRESS = 28 };

static char script[1 << 16], buffers[BATCH][BUFFER], addresses[BATCH][ADDRESS];
static socklen_t lengths[BATCH];
static int received[BATCH];

static int bound_socket(struct sockaddr_in *name)
{
	socklen_t length = sizeof *name;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	*name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)name, length) ||
	    getsockname(fd, (struct sockaddr *)name, &length)) {
		perror("socket");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct sockaddr_in server_name, names[3];
	int server = bound_socket(&server_name), clients[3];
	int file = open(argc > 1 ? argv[1] : "figure1.lua", O_RDONLY);
	ssize_t size = read(file, script, sizeof script);
	if (size <= 0) {
		perror("the script");
		return 1;
	}
	int lua = register_lua_syscall(script, (size_t)size);
	if (lua < 0) {
		perror("register_lua_syscall");
		return 1;
	}
	for (int i = 0; i < 3; i++)
		clients[i] = bound_socket(&names[i]);
	for (int i = 0; i < 9; i++) {
		char text[64];
		int length = snprintf(text, sizeof text, "datagram %d of client %d", i, i % 3);
		if (i == 4)
			length = 3; /* the script skips what is too short */
		sendto(clients[i % 3], text, (size_t)length, 0, (struct sockaddr *)&server_name,
		       sizeof server_name);
	}
	for (int i = 0; i < BATCH; i++)
		lengths[i] = ADDRESS;
	long count = lua_syscall(lua, 6, server, (long)buffers, (long)addresses, (long)lengths,
				 (long)received, BATCH);
	printf("%ld datagrams\n", count);
	for (int i = 0; i < count; i++) {
		struct sockaddr_in *from = (struct sockaddr_in *)addresses[i];
		int who = 0;
		while (who < 3 && names[who].sin_port != from->sin_port)
			who++;
		printf("%.*s, %d bytes, from client %d\n", received[i], buffers[i], received[i], who);
	}
	count = lua_syscall(lua, 6, server, (long)buffers, (long)addresses, (long)lengths,
			    (long)received, BATCH);
	printf("%ld datagrams\n", count);
	close(lua);
	return lua_syscall(lua, 0) == -1 && errno == EBADF ? 0 : 1;
}
