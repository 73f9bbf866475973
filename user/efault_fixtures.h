/* How the things that efault_table.h names are made, put back and removed. */

static void warn_missing(const char *what)
{
    fprintf(stderr, "efault: no %s: %s\n", what, strerror(errno));
}

/* Move a descriptor to the number that the table gives it. */
static void place(const char *what, int fd, int number_wanted)
{
    if (fd < 0 || dup2(fd, number_wanted) < 0)
        warn_missing(what);
    if (fd >= 0)
        close(fd);
}

static void place_pair(const char *what, int failed, const int *pair, int first)
{
    if (failed) {
        warn_missing(what);
        return;
    }
    place(what, pair[0], first);
    place(what, pair[1], first + 1);
}

static void make_files(void)
{
    if (mkdtemp(scratch) == NULL || chdir(scratch) != 0)
        warn_missing("scratch directory");
    memset(buffer, 'a', sizeof buffer);
    place("file", open(file_path, O_RDWR | O_CREAT, 0600), FILE_FD);
    if (pwrite(FILE_FD, buffer, sizeof buffer, 0) != sizeof buffer)
        warn_missing("file of 4096 bytes");
    place("victim", open("copy", O_RDWR | O_CREAT, 0600), VICTIM_FD);
    if (symlink(file_path, link_path) != 0 || mkdir("empty", 0700) != 0)
        warn_missing("link, empty directory");
    place("directory", open(".", O_RDONLY | O_DIRECTORY), DIR_FD);
    place("empty directory", open("empty", O_RDONLY | O_DIRECTORY), EMPTY_DIR_FD);
    place("/dev/zero", open("/dev/zero", O_RDWR), ZERO);
    place("/dev/null", open("/dev/null", O_RDWR), NULL_FD);
}

static void make_sockets(void)
{
    int pair[2] = {-1, -1};
    int failed = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);

    place_pair("socket pair", failed, pair, SOCK);
    place("listening socket", socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), LISTEN);
    if (bind(LISTEN, (struct sockaddr *)&address, sizeof address) != 0 || listen(LISTEN, 8) != 0)
        warn_missing("listening socket");
}

static void make_events(void)
{
    struct epoll_event wanted = {.events = EPOLLIN};

    place("epoll", epoll_create1(0), EPOLL);
    place("eventfd", eventfd(1, EFD_NONBLOCK), EVENT);
    place("timerfd", timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), TIMER);
    place("inotify", inotify_init1(IN_NONBLOCK), INOTIFY);
    if (epoll_ctl(EPOLL, EPOLL_CTL_ADD, EVENT, &wanted) != 0)
        warn_missing("epoll of an eventfd");
}

static void setup(char *self)
{
    int pair[2] = {-1, -1};
    int failed;

    if (realpath(self, self_path) == NULL)
        warn_missing("path to this program");
    make_files();
    failed = pipe2(pair, O_NONBLOCK);
    place_pair("pipe", failed, pair, PIPE_R);
    make_sockets();
    make_events();
    getrlimit(RLIMIT_NOFILE, &limit);
    capability_header.version = _LINUX_CAPABILITY_VERSION_3;
}

static void drain(int fd)
{
    static char sink[65536];

    while (read(fd, sink, sizeof sink) > 0)
        continue;
}

static void ignore(long result)
{
    (void)result;
}

static void reset_files(void)
{
    ignore(unlink(new_path));
    ignore(rmdir(new_path));
    ignore(mkdir(dir_path, 0700));
    close(open(victim_path, O_WRONLY | O_CREAT, 0600));
    lseek(FILE_FD, 0, SEEK_SET);
    lseek(EMPTY_DIR_FD, 0, SEEK_SET);
}

/* A pipe of 4096 bytes, a socket with as many to read, one client to accept. */
static void reset_streams(void)
{
    int client;

    drain(PIPE_R);
    drain(SOCK);
    drain(SOCK_PEER);
    memset(buffer, 'a', sizeof buffer);
    ignore(write(PIPE_W, buffer, sizeof buffer));
    ignore(write(SOCK_PEER, buffer, sizeof buffer));
    while ((client = accept(LISTEN, NULL, NULL)) >= 0)
        close(client);
    client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client < 0)
        return; /* setup has said so */
    place("client", client, CLIENT);
    ignore(connect(CLIENT, (struct sockaddr *)&address, sizeof address));
}

static void reset_objects(void)
{
    eventfd_t value_read;

    ignore(eventfd_read(EVENT, &value_read));
    ignore(eventfd_write(EVENT, 1));
    name_length = sizeof name_out;
    option_length = sizeof number;
    offset = second_offset = number = zero = 0;
    message.msg_hdr.msg_controllen = 0;
    memset(signals, 0, sizeof signals);
    memset(set, 0, sizeof set);
    memset(second_set, 0, sizeof second_set);
    memset(third_set, 0, sizeof third_set);
    set[FILE_FD / 8] = 1 << FILE_FD % 8;
    no_time = (struct timespec){0, 0};
    no_value = (struct timeval){0, 0};
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
}

/* Everything as the rows expect it, whatever the last one did. */
static void reset(void)
{
    reset_files();
    reset_streams();
    reset_objects();
}

static void cleanup(void)
{
    static const char *const names[] = {"file", "copy", "link", "victim", "new", "socket"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        ignore(unlink(names[i]));
    ignore(rmdir("dir"));
    ignore(rmdir("empty"));
    ignore(chdir("/"));
    ignore(rmdir(scratch));
}
