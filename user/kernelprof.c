/* kernelprof PROGRAM [ARG...]: run a program, and profile Hardtack meanwhile. Needs CAP_SYS_ADMIN.
 *
 * Prints the kernel's stacks, folded, as flamegraph.pl and speedscope read them; on standard error
 * what the kernel's collector and heap did. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

#include "hardtack.h"

enum { PERIOD_US = 1000 };

int main(int argc, char **argv)
{
	char text[1 << 14];
	int status = 0;
	long before = hardtack_info(HARDTACK_COLLECTIONS);

	if (argc < 2) {
		fprintf(stderr, "usage: kernelprof PROGRAM [ARG...]\n");
		return 2;
	}
	if (hardtack_prof(HARDTACK_PROF_START, PERIOD_US)) {
		perror("kernelprof: prof");
		return 1;
	}
	pid_t child = fork();
	if (child == 0) {
		execvp(argv[1], argv + 1);
		perror(argv[1]);
		_exit(127);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	long samples = hardtack_prof(HARDTACK_PROF_STOP, 0);
	int stacks = open("/proc/hardtack/profile", O_RDONLY);
	for (ssize_t size; (size = read(stacks, text, sizeof text)) > 0;)
		fwrite(text, 1, (size_t)size, stdout);
	fprintf(stderr, "%ld samples, %ld collections, %ld bytes live of %ld\n", samples,
		hardtack_info(HARDTACK_COLLECTIONS) - before, hardtack_info(HARDTACK_LIVE_BYTES),
		hardtack_info(HARDTACK_LIMIT_BYTES));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
