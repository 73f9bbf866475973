/* getsockopt(2), setsockopt(2) and ioctl(2) on Internet sockets: every option of a level, on every
 * kind of socket, with odd lengths and odd values. One line for each case; what differs between two
 * runs on one machine (ports, pointers, counters) is masked. Native output is the oracle. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct kind {
    const char *name;
    int family, type, protocol, stage; /* stage: 0 fresh, 1 bound, 2 listening, 3 connected */
};

static const struct kind kinds[] = {
    {"tcp", AF_INET, SOCK_STREAM, 0, 0},         {"tcp-bound", AF_INET, SOCK_STREAM, 0, 1},
    {"tcp-listening", AF_INET, SOCK_STREAM, 0, 2}, {"tcp-connected", AF_INET, SOCK_STREAM, 0, 3},
    {"udp", AF_INET, SOCK_DGRAM, 0, 0},          {"udp-connected", AF_INET, SOCK_DGRAM, 0, 3},
    {"raw", AF_INET, SOCK_RAW, IPPROTO_ICMP, 0}, {"raw-own", AF_INET, SOCK_RAW, IPPROTO_RAW, 0},
    {"tcp6", AF_INET6, SOCK_STREAM, 0, 0},       {"tcp6-connected", AF_INET6, SOCK_STREAM, 0, 3},
    {"udp6", AF_INET6, SOCK_DGRAM, 0, 0},        {"udp6-connected", AF_INET6, SOCK_DGRAM, 0, 3},
    {"raw6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6, 0},
};

struct level {
    const char *name;
    int level, last;
    const char *skipped; /* options, as words: what takes pointers or programs, or differs by nature */
};

static const struct level levels[] = {
    /* filters, BPF, security label, cookie, CPU and queue numbers, peer's pidfd, device memory */
    {"socket", SOL_SOCKET, 77, " 26 27 31 49 50 51 52 54 56 57 59 77 "},
    /* netfilter's are at 64; multicast sources and group structures take their own */
    {"ip", IPPROTO_IP, 50, " 16 17 35 36 37 38 39 40 41 42 43 44 45 46 47 48 "},
    {"ipv6", IPPROTO_IPV6, 78,
     " 20 21 27 28 29 30 32 33 34 35 42 43 44 45 46 47 48 54 55 57 59 68 69 71 72 "},
    /* MD5, repair, ULP, zero-copy receive, AO: each takes a structure; INFO is counters */
    {"tcp", IPPROTO_TCP, 37, " 11 14 15 19 20 21 22 24 26 28 29 31 32 33 35 37 "},
    {"udp", IPPROTO_UDP, 104, " 100 101 102 "},
    {"icmp", IPPROTO_ICMP, 2, ""},
    {"icmpv6", IPPROTO_ICMPV6, 2, ""},
    {"raw", 255, 8, ""},
    {"nonsense", 4711, 2, ""},
};

static int loopback(struct sockaddr_storage *name, int family, int port) {
    memset(name, 0, sizeof *name);
    if (family == AF_INET) {
        struct sockaddr_in *in = (void *)name;
        in->sin_family = AF_INET;
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        in->sin_port = port;
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (void *)name;
    in6->sin6_family = AF_INET6;
    in6->sin6_addr = in6addr_loopback;
    in6->sin6_port = port;
    return sizeof *in6;
}

static int port_of(int fd) {
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    getsockname(fd, (void *)&name, &size);
    return ((struct sockaddr_in *)&name)->sin_port; /* at the same place in sockaddr_in6 */
}

/* A socket of the kind; others that it needs are left open in `others`. */
static int make(const struct kind *kind, int others[2]) {
    struct sockaddr_storage name;
    int size = loopback(&name, kind->family, 0), fd = socket(kind->family, kind->type, kind->protocol);
    others[0] = others[1] = -1;
    if (fd < 0 || !kind->stage)
        return fd;
    if (kind->stage < 3) {
        if (bind(fd, (void *)&name, size) || (kind->stage == 2 && listen(fd, 5)))
            return -1;
        return fd;
    }
    int target = others[0] = socket(kind->family, kind->type, kind->protocol);
    if (bind(target, (void *)&name, size) || (kind->type == SOCK_STREAM && listen(target, 5)))
        return -1;
    size = loopback(&name, kind->family, port_of(target));
    if (connect(fd, (void *)&name, size))
        return -1;
    if (kind->type == SOCK_STREAM)
        others[1] = accept(target, 0, 0);
    return fd;
}

static void put_away(int fd, const int others[2]) {
    struct linger at_once = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
    for (int i = 0; i < 2; i++)
        if (others[i] >= 0)
            close(others[i]);
}

static const char *error_name(int error) {
    static char number[16];
    const char *name = strerrorname_np(error);
    if (name)
        return name;
    snprintf(number, sizeof number, "errno %d", error);
    return number;
}

static void show_value(int result, socklen_t length, const unsigned char *value) {
    if (result) {
        printf("%s %d\n", error_name(errno), (int)length);
        return;
    }
    printf("%d ", (int)length);
    for (socklen_t i = 0; i < length && i < 32; i++)
        printf("%02x", value[i]);
    printf("\n");
}

static void get(int fd, const char *label, int level, int option, int room) {
    unsigned char value[256];
    socklen_t length = room;
    memset(value, 0xee, sizeof value);
    int result = getsockopt(fd, level, option, value, &length);
    printf("%s get %d -> ", label, room);
    show_value(result, length, value);
}

static void set(int fd, const char *label, int level, int option, long value, int length) {
    unsigned char bytes[16] = {0};
    memcpy(bytes, &value, 4);
    int result = setsockopt(fd, level, option, bytes, length);
    printf("%s set %ld:%d -> %s, ", label, value, length, result ? error_name(errno) : "ok");
    unsigned char now[256];
    socklen_t size = 40;
    memset(now, 0xee, sizeof now);
    show_value(getsockopt(fd, level, option, now, &size), size, now);
}

static void one_option(const struct kind *kind, const struct level *level, int option) {
    static const long values[] = {1, 0, -1, -2, 2, 3, 5, 7, 64, 128, 255, 256, 1000, 65536, 0x7fffffff};
    static const int rooms[] = {64, 4, 1, 0}, lengths[] = {3, 1, 0, -1, 8, 12, 16};
    char label[64];
    int others[2], fd = make(kind, others);
    snprintf(label, sizeof label, "%s %s %d", kind->name, level->name, option);
    if (fd < 0) {
        printf("%s cannot be made: %s\n", label, error_name(errno));
        return;
    }
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        get(fd, label, level->level, option, rooms[i]);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        set(fd, label, level->level, option, values[i], 4);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        set(fd, label, level->level, option, 1, lengths[i]);
    put_away(fd, others);
}

static void ioctls(const struct kind *kind) {
    static const struct {
        const char *name;
        unsigned long command;
    } table[] = {
        {"FIONREAD", 0x541b},    {"TIOCOUTQ", 0x5411},      {"SIOCATMARK", 0x8905},
        {"SIOCOUTQNSD", 0x894b}, {"SIOCGPGRP", 0x8904},     {"FIOGETOWN", 0x8903},
        {"SIOCGSTAMP", 0x8906},  {"SIOCGIFNAME", 0x8910},   {"SIOCGIFFLAGS", 0x8913},
        {"SIOCGIFADDR", 0x8915}, {"SIOCGIFDSTADDR", 0x8917}, {"SIOCGIFBRDADDR", 0x8919},
        {"SIOCGIFNETMASK", 0x891b}, {"SIOCGIFMETRIC", 0x891d}, {"SIOCGIFMTU", 0x8921},
        {"SIOCGIFHWADDR", 0x8927}, {"SIOCGIFINDEX", 0x8933}, {"SIOCGIFPFLAGS", 0x8935},
        {"SIOCGIFTXQLEN", 0x8942}, {"SIOCGIFMAP", 0x8970},  {"SIOCETHTOOL", 0x8946},
        {"SIOCGIFVLAN", 0x8982}, {"SIOCGARP", 0x8954},      {"TCGETS", 0x5401},
        {"TIOCGWINSZ", 0x5413},  {"unknown", 0x89f0},       {"nothing", 0x1234},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int named = 0; named < 2; named++) {
            unsigned char bytes[128] = {0};
            int others[2], fd = make(kind, others);
            if (fd < 0)
                return;
            strcpy((char *)bytes, named ? "lo" : "nosuch0");
            int result = ioctl(fd, table[i].command, bytes);
            printf("%s ioctl %s %s -> ", kind->name, table[i].name, named ? "lo" : "nosuch0");
            show_value(result ? -1 : 0, 32, bytes);
            put_away(fd, others);
        }
}

int main(int count, char **words) {
    setvbuf(stdout, 0, _IOFBF, 1 << 16);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (count > 1 && strcmp(words[1], kinds[k].name))
            continue;
        for (size_t l = 0; l < sizeof levels / sizeof *levels; l++)
            for (int option = 1; option <= levels[l].last; option++) {
                char word[16];
                snprintf(word, sizeof word, " %d ", option);
                if (levels[l].level == IPPROTO_UDP && option > 1 && option < 99)
                    continue;
                if (!strstr(levels[l].skipped, word))
                    one_option(&kinds[k], &levels[l], option);
            }
        ioctls(&kinds[k]);
    }
    return 0;
}
