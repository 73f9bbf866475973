/* luarun SCRIPT [WORD...]: put a script into the kernel, run it once, and print its result.
 *
 * A word `buffer` stands for the address of 64 KiB of zeros, whose first string is printed if there
 * is one; `-n TIMES` runs it so often; `-f` runs it in a child, too; `-a` handles SIGALRM, which
 * comes every 0.2 s, by printing "rang". */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "hardtack.h"

static char script[(1 << 16) + 1], buffer[1 << 16];

static void rang(int signal)
{
	(void)signal;
	if (write(1, "rang\n", 5) != 5)
		_exit(3);
}

static void ring(void)
{
	struct itimerval often = {{0, 200000}, {0, 200000}};
	signal(SIGALRM, rang);
	setitimer(ITIMER_REAL, &often, NULL);
}

static long run(int lua, unsigned count, const long *words)
{
	char why[1024];
	long result = lua_syscall_words(lua, count, words);
	if (result == -1 && errno == ENOEXEC && lua_error(lua, why, sizeof why) >= 0)
		printf("failed: %s\n", why);
	else if (result == -1)
		printf("error: %s\n", strerror(errno));
	else
		printf("result: %ld\n", result);
	if (buffer[0])
		printf("buffer: %s\n", buffer);
	fflush(stdout);
	return result;
}

int main(int argc, char **argv)
{
	long words[LUA_MOST_ARGUMENTS + 1];
	int option, times = 1, forked = 0;
	unsigned count = 0;
	while ((option = getopt(argc, argv, "+n:fa")) != -1) {
		times = option == 'n' ? atoi(optarg) : times;
		forked |= option == 'f';
		if (option == 'a')
			ring();
	}
	int file = open(argv[optind], O_RDONLY);
	ssize_t size = file < 0 ? -1 : read(file, script, sizeof script);
	if (size < 0) {
		perror(argv[optind]);
		return 1;
	}
	close(file);
	for (int i = optind + 1; i < argc && count <= LUA_MOST_ARGUMENTS; i++)
		words[count++] = strcmp(argv[i], "buffer") ? strtol(argv[i], NULL, 0) : (long)buffer;
	int lua = register_lua_syscall(script, (size_t)size);
	if (lua < 0) {
		printf("refused: %s\n", strerror(errno));
		return 2;
	}
	for (int i = 0; i < times; i++)
		run(lua, count, words);
	if (forked) {
		fflush(stdout);
		if (!fork()) {
			run(lua, count, words);
			_exit(0);
		}
		wait(NULL);
	}
	return 0;
}
