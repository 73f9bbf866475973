/*
 * A good citizen: delivers mail in bursts, like a mail daemon, and rests in
 * between. Any system call that does not do what it should ends it with 1
 * (section 7.2.7 of the Biscuit thesis).
 *
 *   citizen DIRECTORY SECONDS MESSAGES REST_MS
 *
 * A delivery: a child writes the message into DIRECTORY/tmp, syncs it, links
 * it into DIRECTORY/new and unlinks the first name; the parent reads it back
 * and removes it. Prints the number of deliveries, and the longest in ms.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 1800 };

static char from[256], to[256], text[BYTES], back[BYTES + 1];

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void must(int good, const char *what)
{
    if (!good) {
        perror(what);
        _exit(1);
    }
}

static void deliver(void)
{
    int fd = open(from, O_CREAT | O_EXCL | O_WRONLY, 0600);

    must(fd >= 0, "citizen: open");
    must(write(fd, text, BYTES) == BYTES, "citizen: write");
    must(fsync(fd) == 0, "citizen: fsync");
    must(close(fd) == 0, "citizen: close");
    must(link(from, to) == 0, "citizen: link");
    must(unlink(from) == 0, "citizen: unlink");
}

static void fetch(void)
{
    int fd = open(to, O_RDONLY);

    must(fd >= 0, "citizen: open again");
    must(read(fd, back, sizeof back) == BYTES, "citizen: read");
    must(memcmp(text, back, BYTES) == 0, "citizen: compare");
    must(close(fd) == 0, "citizen: close again");
    must(unlink(to) == 0, "citizen: unlink again");
}

int main(int count, char **words)
{
    if (count != 5)
        return 2;
    double until = now() + atof(words[2]), longest = 0;
    long delivered = 0;
    int burst = atoi(words[3]), rest_ms = atoi(words[4]);
    char folder[256];

    snprintf(folder, sizeof folder, "%s/tmp", words[1]);
    must(mkdir(folder, 0700) == 0, "citizen: mkdir");
    snprintf(folder, sizeof folder, "%s/new", words[1]);
    must(mkdir(folder, 0700) == 0, "citizen: mkdir");
    memset(text, 'm', sizeof text);
    do {
        for (int i = 0; i < burst; i++) {
            int status;
            double began = now();

            snprintf(from, sizeof from, "%s/tmp/%d.%ld", words[1], getpid(), delivered);
            snprintf(to, sizeof to, "%s/new/%d.%ld", words[1], getpid(), delivered);
            memcpy(text, from, strlen(from));
            pid_t child = fork();

            must(child >= 0, "citizen: fork");
            if (child == 0) {
                deliver();
                _exit(0);
            }
            must(waitpid(child, &status, 0) == child && status == 0, "citizen: waitpid");
            fetch();
            delivered++;
            if (now() - began > longest)
                longest = now() - began;
        }
        must(usleep(rest_ms * 1000) == 0, "citizen: usleep");
    } while (now() < until);
    printf("citizen: %ld delivered, longest %.1f ms\n", delivered, longest * 1000);
    return 0;
}
