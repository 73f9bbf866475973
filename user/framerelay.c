/*
 * A wire between two tap devices, each in its own network namespace, and what goes wrong on it.
 *
 *   framerelay [-s SEED] [-d MS] [-l PCT] [-r PCT] [-u PCT] [-c PCT] [-b MBIT -q FRAMES]
 *              NAME NETNS NAME NETNS
 *
 * NETNS is a path such as /proc/PID/ns/net. The taps are made here and go with the process. The
 * words mean what they mean to tc-netem(8), in each direction alike: every frame is late by -d;
 * of a hundred, so many are lost (-l), overtake the delayed ones (-r), arrive twice (-u), or have
 * one bit turned over (-c), behind the Ethernet header and never in ARP, which has no checksum: a
 * wire's FCS would have caught it. -b is a bottleneck's rate, before which -q frames may wait.
 *
 * The fate of a direction's nth frame follows from SEED and n alone. Prints "ready" when frames
 * may come; on SIGTERM, one line of JSON for each direction, and ends. Needs root.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { FRAME = 2048, SLOTS = 16384, BATCH = 64, ETHERNET = 14 };

struct frame {
    uint64_t due;
    int size;
    unsigned char data[FRAME];
};

struct direction {
    int from, to;
    uint64_t random, free_at; /* when the bottleneck has sent what it holds */
    struct frame *slots;      /* a ring, in the order in which they are due */
    unsigned head, count;
    unsigned long frames, lost, early, twice, corrupt, overflow, delivered;
};

static struct {
    double lost, early, twice, corrupt;
    uint64_t delay, ns_per_byte;
    unsigned queue;
} link_ = {.queue = SLOTS};

static volatile sig_atomic_t over;

static void stop(int number)
{
    (void)number;
    over = 1;
}

static void die(const char *what)
{
    fprintf(stderr, "framerelay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* xorshift64*, Vigna 2016. */
static uint64_t draw(struct direction *d)
{
    d->random ^= d->random >> 12;
    d->random ^= d->random << 25;
    d->random ^= d->random >> 27;
    return d->random * 2685821657736338717u;
}

static int happens(struct direction *d, double percent)
{
    return (double)(draw(d) >> 11) / 9007199254740992.0 * 100.0 < percent;
}

static int open_tap(const char *name, const char *netns)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int ns = open(netns, O_RDONLY | O_CLOEXEC), fd;

    if (ns < 0 || setns(ns, CLONE_NEWNET) != 0)
        die(netns);
    close(ns);
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        die("/dev/net/tun");
    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    if (ioctl(fd, TUNSETIFF, &request) != 0)
        die(name);
    return fd;
}

static void deliver(struct direction *d, const unsigned char *data, int size)
{
    if (write(d->to, data, (size_t)size) == size)
        d->delivered++;
}

static void put(struct direction *d, const unsigned char *data, int size, uint64_t due)
{
    struct frame *slot;

    if (d->count == SLOTS) {
        d->overflow++;
        return;
    }
    slot = &d->slots[(d->head + d->count++) % SLOTS];
    slot->due = due;
    slot->size = size;
    memcpy(slot->data, data, (size_t)size);
}

static void damage(struct direction *d, unsigned char *data, int size, uint64_t where)
{
    int ip = size > ETHERNET && !(data[12] == 0x08 && data[13] == 0x06);

    if (!ip)
        return;
    where %= (uint64_t)(size - ETHERNET) * 8;
    data[ETHERNET + where / 8] ^= (unsigned char)(1u << where % 8);
    d->corrupt++;
}

/* One frame enters the wire. Five draws each, whatever happens: its fate depends on nothing else. */
static void enter(struct direction *d, unsigned char *data, int size, uint64_t at)
{
    int lost = happens(d, link_.lost), twice = happens(d, link_.twice);
    int corrupt = happens(d, link_.corrupt), early = happens(d, link_.early);
    uint64_t where = draw(d) >> 8, due = at;

    d->frames++;
    if (lost) {
        d->lost++;
        return;
    }
    if (corrupt)
        damage(d, data, size, where);
    if (link_.ns_per_byte) {
        uint64_t start = d->free_at > at ? d->free_at : at;

        if (start - at > link_.ns_per_byte * 1514 * link_.queue) {
            d->overflow++;
            return;
        }
        due = d->free_at = start + link_.ns_per_byte * (uint64_t)size;
    }
    if (early) {
        d->early++;
        deliver(d, data, size);
    } else if (due + link_.delay <= at && !d->count) {
        deliver(d, data, size);
    } else {
        put(d, data, size, due + link_.delay);
    }
    if (twice) {
        d->twice++;
        put(d, data, size, due + link_.delay);
    }
}

static void leave(struct direction *d, uint64_t at)
{
    while (d->count && d->slots[d->head].due <= at) {
        deliver(d, d->slots[d->head].data, d->slots[d->head].size);
        d->head = (d->head + 1) % SLOTS;
        d->count--;
    }
}

static void receive(struct direction *d)
{
    unsigned char data[FRAME];
    int batch;

    for (batch = 0; batch < BATCH; batch++) {
        ssize_t size = read(d->from, data, sizeof data);

        if (size <= 0)
            return;
        enter(d, data, (int)size, now());
    }
}

static void carry(struct direction directions[2])
{
    struct pollfd watched[2];
    int i;

    for (i = 0; i < 2; i++)
        watched[i] = (struct pollfd){.fd = directions[i].from, .events = POLLIN};
    while (!over) {
        uint64_t at = now(), next = UINT64_MAX;
        struct timespec wait;

        for (i = 0; i < 2; i++) {
            struct direction *d = &directions[i];

            leave(d, at);
            if (d->count && d->slots[d->head].due < next)
                next = d->slots[d->head].due;
        }
        next = next == UINT64_MAX ? 100000000u : next > at ? next - at : 0;
        wait = (struct timespec){(time_t)(next / 1000000000u), (long)(next % 1000000000u)};
        if (ppoll(watched, 2, &wait, NULL) > 0)
            for (i = 0; i < 2; i++)
                if (watched[i].revents)
                    receive(&directions[i]);
    }
}

static void report(const struct direction *d, const char *from, const char *to)
{
    printf("{\"from\": \"%s\", \"to\": \"%s\", \"frames\": %lu, \"delivered\": %lu, "
           "\"lost\": %lu, \"reordered\": %lu, \"duplicated\": %lu, \"corrupted\": %lu, "
           "\"overflown\": %lu}\n",
           from, to, d->frames, d->delivered, d->lost, d->early, d->twice, d->corrupt, d->overflow);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    double megabits = 0;
    struct direction directions[2] = {0};
    int option, i;

    while ((option = getopt(argc, argv, "s:d:l:r:u:c:b:q:")) != -1) {
        switch (option) {
        case 's': seed = strtoull(optarg, NULL, 0); break;
        case 'd': link_.delay = (uint64_t)(atof(optarg) * 1e6); break;
        case 'l': link_.lost = atof(optarg); break;
        case 'r': link_.early = atof(optarg); break;
        case 'u': link_.twice = atof(optarg); break;
        case 'c': link_.corrupt = atof(optarg); break;
        case 'b': megabits = atof(optarg); break;
        case 'q': link_.queue = (unsigned)atoi(optarg); break;
        default: return 2;
        }
    }
    if (argc - optind != 4) {
        fprintf(stderr, "usage: framerelay [options] NAME NETNS NAME NETNS (see its source)\n");
        return 2;
    }
    if (megabits > 0)
        link_.ns_per_byte = (uint64_t)(8000.0 / megabits);
    argv += optind;
    for (i = 0; i < 2; i++) {
        directions[i].random = (seed * 2 + (uint64_t)i + 1) * 0x9E3779B97F4A7C15u;
        directions[i].slots = malloc(SLOTS * sizeof(struct frame));
        if (!directions[i].slots)
            die("malloc");
        directions[i].from = open_tap(argv[2 * i], argv[2 * i + 1]);
    }
    directions[0].to = directions[1].from;
    directions[1].to = directions[0].from;
    signal(SIGTERM, stop);
    printf("ready\n");
    fflush(stdout);
    carry(directions);
    report(&directions[0], argv[0], argv[2]);
    report(&directions[1], argv[2], argv[0]);
    return 0;
}
