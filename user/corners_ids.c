/* Users, groups, sessions, capabilities, as root and as nobody. */
#include "corners.h"

#include <linux/capability.h>

static void show_users(void)
{
    uid_t r, e, s;

    syscall(SYS_getresuid, &r, &e, &s);
    printf("  users %d %d %d fs %ld\n", r, e, s, syscall(SYS_setfsuid, -1));
    syscall(SYS_getresgid, &r, &e, &s);
    printf("  groups %d %d %d fs %ld\n", r, e, s, syscall(SYS_setfsgid, -1));
}

static void as_root(void)
{
    TELL(SYS_setuid, -1);
    TELL(SYS_setgid, -1);
    TELL(SYS_setreuid, -1, -1);
    TELL(SYS_setresuid, -1, -1, -1);
    TELL(SYS_getresuid, BAD, BAD, BAD);
    TELL(SYS_getresgid, NULL, NULL, NULL);
    APART { TELL(SYS_setuid, 1000); show_users(); TELL(SYS_setuid, 0); TELL(SYS_setuid, 1000); }
    APART { TELL(SYS_setreuid, 1000, 2000); show_users(); TELL(SYS_setuid, 1000); show_users(); }
    APART { TELL(SYS_setreuid, -1, 2000); show_users(); TELL(SYS_setreuid, -1, 0); show_users(); }
    APART { TELL(SYS_setreuid, 5, -1); show_users(); TELL(SYS_setreuid, 0, 5); show_users(); }
    APART { TELL(SYS_setregid, 7, 8); show_users(); TELL(SYS_setgid, 9); show_users(); }
    APART { TELL(SYS_setresuid, 1, 2, 3); show_users(); TELL(SYS_setresuid, 3, 1, 2); show_users();
            TELL(SYS_setresuid, 4, -1, -1); TELL(SYS_setreuid, 1, -1); TELL(SYS_setreuid, -1, 3); show_users();
            TELL(SYS_setuid, 2); TELL(SYS_setuid, 99); show_users(); }
    APART { TELL(SYS_setresgid, 1, 2, 3); TELL(SYS_setresuid, 1, 2, 3); TELL(SYS_setresgid, 2, 3, 1); show_users();
            TELL(SYS_setresgid, 9, -1, -1); TELL(SYS_setgid, 1); show_users(); }
    APART { TELL(SYS_setfsuid, 1234); show_users(); TELL(SYS_setresuid, -1, 55, -1); show_users(); }
    APART { TELL(SYS_setfsgid, 1234); show_users(); TELL(SYS_setresgid, -1, 55, -1); show_users(); }
}

static void some_groups(void)
{
    gid_t groups[4] = {1, 2, 3, 4};

    TELL(SYS_setgroups, 3, groups);
    TELL(SYS_getgroups, 0, NULL);
    TELL(SYS_getgroups, 2, groups);
    TELL(SYS_getgroups, -1, groups);
    TELL(SYS_getgroups, 4, BAD);
    TELL(SYS_getgroups, 4, groups);
    TELL(SYS_setgroups, 65537, groups);
    TELL(SYS_setgroups, 2, BAD);
    TELL(SYS_setgroups, -1, groups);
    TELL(SYS_setgroups, 0, NULL);
    TELL(SYS_getgroups, 4, groups);
}

static void as_nobody(void)
{
    gid_t group = 0;

    become_nobody();
    show_users();
    TELL(SYS_setuid, 0);
    TELL(SYS_setuid, NOBODY);
    TELL(SYS_setgid, 0);
    TELL(SYS_setreuid, 0, -1);
    TELL(SYS_setreuid, -1, 0);
    TELL(SYS_setresuid, -1, -1, 0);
    TELL(SYS_setresgid, 0, -1, -1);
    TELL(SYS_setfsuid, 0);
    TELL(SYS_setfsuid, 0);
    TELL(SYS_setgroups, 0, NULL);
    TELL(SYS_setgroups, 1, &group);
    TELL(SYS_setgroups, 100000, &group);
}

static void sessions(void)
{
    pid_t child = begin_sleeper();

    TELL(SYS_getpgid, NO_SUCH_PID);
    TELL(SYS_getpgid, -1);
    TELL(SYS_getsid, NO_SUCH_PID);
    TELL(SYS_getsid, -1);
    TELL(SYS_setpgid, 0, -1);
    TELL(SYS_setpgid, NO_SUCH_PID, 0);
    TELL(SYS_setpgid, 1, 0);
    TELL(SYS_setpgid, -1, 0);
    TELL(SYS_setpgid, child, NO_SUCH_PID);
    TELL(SYS_setpgid, child, 0);
    TELL(SYS_setpgid, child, child);
    SHOW(getpgid(child) == child);
    APART {
        TELL(SYS_setpgid, 0, child);
        SHOW(getpgrp() == child);
        TRY(SYS_setsid);
        TELL(SYS_setsid);
        TELL(SYS_setpgid, 0, 0);
        TELL(SYS_setpgid, child, 0);
    }
    APART {
        TELL(SYS_setpgid, 0, 0);
        TELL(SYS_setsid);
    }
    end_sleeper(child);
}

static void capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];

    header.version = 0;
    TELL(SYS_capget, &header, NULL);
    SHOW(header.version == _LINUX_CAPABILITY_VERSION_3);
    header.version = 0;
    TELL(SYS_capget, &header, data);
    TELL(SYS_capget, BAD, data);
    header.pid = -1;
    TELL(SYS_capget, &header, data);
    header.pid = NO_SUCH_PID;
    TELL(SYS_capget, &header, data);
    header.pid = 0;
    TELL(SYS_capget, &header, BAD);
    TELL(SYS_capget, &header, NULL);
    header.version = 0;
    TELL(SYS_capset, &header, data);
    header.pid = 1;
    TELL(SYS_capset, &header, data);
    header.pid = 0;
    TELL(SYS_capset, BAD, data);
    TELL(SYS_capset, &header, BAD);
    memset(data, 0, sizeof data);
    TELL(SYS_capget, &header, data);
    SHOW(data[0].effective & 1);
    APART {
        data[0].effective &= ~(1u << CAP_SETUID);
        TELL(SYS_capset, &header, data);
        TELL(SYS_setuid, 5);
        data[0].effective |= 1u << CAP_SETUID;
        TELL(SYS_capset, &header, data);
        TELL(SYS_setuid, 5);
        memset(data, 0, sizeof data);
        TELL(SYS_capget, &header, data);
        SHOW(data[0].effective);
        SHOW(data[0].permitted);
    }
    APART {
        memset(data, 0, sizeof data);
        TELL(SYS_capset, &header, data);
        TELL(SYS_capget, &header, data);
        SHOW(data[0].permitted);
        TELL(SYS_setuid, 5);
        TELL(SYS_sethostname, "x", 1);
        data[0].permitted = data[0].effective = 1;
        TELL(SYS_capset, &header, data);
    }
    APART {
        become_nobody();
        TELL(SYS_capget, &header, data);
        SHOW(data[0].effective);
        SHOW(data[0].permitted);
        data[0].effective = 1;
        TELL(SYS_capset, &header, data);
        data[0].effective = 0;
        TELL(SYS_capset, &header, data);
        data[0].inheritable = 1;
        TELL(SYS_capset, &header, data);
    }
}

void corners_ids(void)
{
    as_root();
    APART some_groups();
    APART as_nobody();
    sessions();
    capabilities();
}
