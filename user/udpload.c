/*
 * The load of the paper on system call scripting: GETs over UDP, SETs over TCP, 9 to 1.
 *
 *   udpload REQUESTS IN_FLIGHT VALUE_BYTES PORT [ADDRESS]
 *
 * IN_FLIGHT requests are under way at any time, over a thousand keys that are stored first and not
 * counted; every tenth of each slot is a SET, over one of sixteen connections. Every reply is
 * compared. The client is to cost little: requests that are ready are sent at once (UDP_SEGMENT, they
 * are all of one length), and replies are taken by read(2). A GET without an answer for a second is sent again and
 * counted as lost. Prints one line of JSON: as bench.h says, and the mean and the standard deviation
 * of the GETs' response times in microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

enum { KEYS = 1000, SLOTS = 1024, STREAMS = 16, BATCH = 64, FRAME = 8, REQUEST = 22, LIMIT = 2048, EVERY = 10 };

struct slot {
    long turn;
    int key, waiting; /* waiting: a GET is under way */
    double sent;
};

struct stream {
    int fd, first, count; /* slots whose SETs are under way, in order */
    int queue[SLOTS];
    char reply[64];
    int got;
};

static struct slot slots[SLOTS];
static struct stream streams[STREAMS];
static char value[LIMIT], requests[BATCH * REQUEST + 1];
static int udp, pending, value_bytes;
static long begun, done, gets, lost, wanted;
static double sum_s, squares;

static void fail(const char *what)
{
    fprintf(stderr, "udpload: %s\n", what);
    exit(1);
}

static void flush(void)
{
    while (pending && send(udp, requests, (size_t)(pending * REQUEST), 0) < 0)
        if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
            die("send");
    pending = 0;
}

static void get(int number)
{
    unsigned char *p = (unsigned char *)requests + pending * REQUEST;
    memcpy(p, (unsigned char[FRAME]){(unsigned char)(number >> 8), (unsigned char)number, 0, 0, 0, 1},
           FRAME);
    snprintf((char *)p + FRAME, REQUEST - FRAME + 1, "get key:%04d\r\n", slots[number].key);
    slots[number].sent = now();
    slots[number].waiting = 1;
    if (++pending == BATCH)
        flush();
}

static void write_all(int fd, const char *text, int length)
{
    while (length > 0) {
        ssize_t n = write(fd, text, (size_t)length);
        if (n < 0 && errno == EAGAIN)
            continue;
        if (n < 0)
            die("write");
        text += n;
        length -= (int)n;
    }
}

static void set(struct stream *s, int number, int key)
{
    char text[LIMIT + 64];
    int head = snprintf(text, 64, "set key:%04d 0 0 %d\r\n", key, value_bytes);
    memcpy(text + head, value, (size_t)value_bytes);
    memcpy(text + head + value_bytes, "\r\n", 2);
    s->queue[(s->first + s->count++) % SLOTS] = number;
    write_all(s->fd, text, head + value_bytes + 2);
}

static void begin(int number)
{
    if (begun == wanted)
        return;
    begun++;
    struct slot *slot = &slots[number];
    slot->key = (int)((number * 31 + slot->turn * 7) % KEYS);
    if (slot->turn++ % EVERY == number % EVERY)
        set(&streams[number % STREAMS], number, slot->key);
    else
        get(number);
}

static void got_reply(const char *reply, int length)
{
    const unsigned char *frame = (const unsigned char *)reply;
    int number = frame[0] << 8 | frame[1];
    char head[64];
    struct slot *slot = &slots[number % SLOTS];
    int size = snprintf(head, sizeof head, "VALUE key:%04d 0 %d\r\n", slot->key, value_bytes);
    if (!slot->waiting)
        return; /* the answer to one that was sent twice */
    if (length != FRAME + size + value_bytes + 7 || memcmp(reply + FRAME, head, (size_t)size) ||
        memcmp(reply + FRAME + size, value, (size_t)value_bytes) ||
        memcmp(reply + length - 7, "\r\nEND\r\n", 7))
        fail("a wrong answer to a GET");
    double took = now() - slot->sent;
    slot->waiting = 0;
    sum_s += took;
    squares += took * took;
    gets++;
    done++;
    begin(number);
}

static void take_replies(void)
{
    char reply[LIMIT];
    ssize_t n;
    while ((n = read(udp, reply, sizeof reply)) >= 0)
        got_reply(reply, (int)n);
    if (errno != EAGAIN && errno != EINTR)
        die("read");
}

static void take_stored(struct stream *s)
{
    static const char stored[] = "STORED\r\n";
    char text[1024];
    ssize_t n = read(s->fd, text, sizeof text);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        fail("a connection ended");
    for (int i = 0; i < n; i++) {
        if (text[i] != stored[s->got])
            fail("a wrong answer to a SET");
        if (++s->got < 8)
            continue;
        s->got = 0;
        int number = s->queue[s->first];
        s->first = (s->first + 1) % SLOTS;
        s->count--;
        if (number < 0)
            continue;
        done++;
        begin(number);
    }
}

static int dial(int type, const struct sockaddr_in *to)
{
    int one = 1, size = 1 << 20, segment = REQUEST, fd = socket(AF_INET, type, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof *to))
        die("connect");
    if (type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    else if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) ||
             setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment))
        die("setsockopt");
    if (fcntl(fd, F_SETFL, O_NONBLOCK))
        die("fcntl");
    return fd;
}

static void wait_for_any(struct pollfd *polled)
{
    int n = poll(polled, STREAMS + 1, 1000);
    if (n < 0 && errno != EINTR)
        die("poll");
    for (int i = 0; i < STREAMS; i++)
        if (polled[i].revents)
            take_stored(&streams[i]);
    if (polled[STREAMS].revents)
        take_replies();
}

static void send_again(int in_flight)
{
    for (int i = 0; i < in_flight; i++)
        if (slots[i].waiting && now() - slots[i].sent > 1.0) {
            lost++;
            get(i);
        }
}

static void run(long count, int in_flight, struct pollfd *polled)
{
    double looked = now();
    begun = done = gets = 0;
    sum_s = squares = 0;
    wanted = count;
    for (int i = 0; i < in_flight; i++)
        begin(i);
    while (done < count) {
        flush();
        wait_for_any(polled);
        if (now() - looked > 1.0) {
            looked = now();
            send_again(in_flight);
        }
    }
}

static void store_all(struct pollfd *polled)
{
    for (int key = 0; key < KEYS; key++) {
        set(&streams[key % STREAMS], -1, key);
        if (key % 64 == 63)
            wait_for_any(polled);
    }
    for (int i = 0; i < STREAMS; i++)
        while (streams[i].count)
            wait_for_any(polled);
}

int main(int argc, char **argv)
{
    struct pollfd polled[STREAMS + 1];
    if (argc < 5 || argc > 6) {
        fprintf(stderr, "usage: udpload REQUESTS IN_FLIGHT VALUE_BYTES PORT [ADDRESS]\n");
        return 2;
    }
    long count = atol(argv[1]);
    int in_flight = atoi(argv[2]);
    value_bytes = atoi(argv[3]);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[4]))};
    if (count < 1 || in_flight < 1 || in_flight > SLOTS || value_bytes < 1 || value_bytes > 1300 ||
        !inet_aton(argc == 6 ? argv[5] : "127.0.0.1", &to.sin_addr)) {
        fprintf(stderr, "udpload: requests from 1, in flight 1 to 1024, values 1 to 1300 bytes\n");
        return 2;
    }
    memset(value, 'v', sizeof value);
    udp = dial(SOCK_DGRAM, &to);
    polled[STREAMS] = (struct pollfd){.fd = udp, .events = POLLIN};
    for (int i = 0; i < STREAMS; i++) {
        streams[i].fd = dial(SOCK_STREAM, &to);
        polled[i] = (struct pollfd){.fd = streams[i].fd, .events = POLLIN};
    }
    store_all(polled);
    run(count / 10 + 1, in_flight, polled);
    double start = now();
    run(count, in_flight, polled);
    double seconds = now() - start, mean = sum_s / (double)gets;
    double deviation = sqrt(fmax(0, squares / (double)gets - mean * mean));
    printf("{\"name\": \"udpload\", \"iterations\": %ld, \"seconds\": %.6f, \"unit\": \"request\", "
           "\"per_second\": %.3f, \"gets\": %ld, \"lost\": %ld, \"response_us\": %.3f, "
           "\"deviation_us\": %.3f}\n",
           count, seconds, (double)count / seconds, gets, lost, mean * 1e6, deviation * 1e6);
    return 0;
}
