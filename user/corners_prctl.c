/* prctl, arch_prctl, personality. */
#include "corners.h"

#include <asm/prctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>

static void names(void)
{
    char name[17] = "";

    TELL(SYS_prctl, PR_SET_NAME, "short", 0, 0, 0);
    TELL(SYS_prctl, PR_GET_NAME, name, 0, 0, 0);
    printf("  %s\n", name);
    TELL(SYS_prctl, PR_SET_NAME, "a name that is too long", 0, 0, 0);
    TELL(SYS_prctl, PR_GET_NAME, name, 0, 0, 0);
    printf("  %s\n", name);
    TELL(SYS_prctl, PR_SET_NAME, BAD, 0, 0, 0);
    TELL(SYS_prctl, PR_GET_NAME, BAD, 0, 0, 0);
    TELL(SYS_prctl, PR_SET_NAME, "", 0, 0, 0);
}

static void death_signal(void)
{
    int signal = 99;

    TELL(SYS_prctl, PR_SET_PDEATHSIG, 65, 0, 0, 0);
    TELL(SYS_prctl, PR_SET_PDEATHSIG, -1L, 0, 0, 0);
    TELL(SYS_prctl, PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
    TELL(SYS_prctl, PR_GET_PDEATHSIG, &signal, 0, 0, 0);
    SHOW(signal);
    TELL(SYS_prctl, PR_GET_PDEATHSIG, BAD, 0, 0, 0);
    APART { TELL(SYS_prctl, PR_GET_PDEATHSIG, &signal, 0, 0, 0); SHOW(signal); }
    TELL(SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
}

static void flags(void)
{
    int value = 99;

    TELL(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
    TELL(SYS_prctl, PR_SET_DUMPABLE, 2, 0, 0, 0);
    TELL(SYS_prctl, PR_SET_DUMPABLE, -1L, 0, 0, 0);
    APART { TELL(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0); TELL(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
            APART TELL(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0); }
    APART { become_nobody(); TELL(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0); }
    TELL(SYS_prctl, PR_GET_KEEPCAPS, 0, 0, 0, 0);
    TELL(SYS_prctl, PR_SET_KEEPCAPS, 2, 0, 0, 0);
    APART { TELL(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0); TELL(SYS_prctl, PR_GET_KEEPCAPS, 0, 0, 0, 0); }
    TELL(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    TELL(SYS_prctl, PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0);
    TELL(SYS_prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
    TELL(SYS_prctl, PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0);
    TELL(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0);
    APART { TELL(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); TELL(SYS_prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
            TELL(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
            APART TELL(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }
    TELL(SYS_prctl, PR_CAPBSET_READ, 0, 0, 0, 0);
    TELL(SYS_prctl, PR_CAPBSET_READ, 40, 0, 0, 0);
    TELL(SYS_prctl, PR_CAPBSET_READ, 41, 0, 0, 0);
    TELL(SYS_prctl, PR_CAPBSET_READ, -1L, 0, 0, 0);
    TELL(SYS_prctl, PR_CAPBSET_DROP, 64, 0, 0, 0);
    APART { TELL(SYS_prctl, PR_CAPBSET_DROP, 21, 0, 0, 0); TELL(SYS_prctl, PR_CAPBSET_READ, 21, 0, 0, 0); }
    APART { become_nobody(); TELL(SYS_prctl, PR_CAPBSET_DROP, 21, 0, 0, 0); TELL(SYS_prctl, PR_CAPBSET_READ, 3, 0, 0, 0); }
    TELL(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0);
    TELL(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 0, 0, 0);
    TELL(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 99, 0, 0);
    TELL(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    TELL(SYS_prctl, PR_CAP_AMBIENT, 9, 0, 0, 0);
    TELL(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
    APART { TELL(SYS_prctl, PR_SET_TIMERSLACK, 1234, 0, 0, 0); TELL(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
            APART TELL(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
            TELL(SYS_prctl, PR_SET_TIMERSLACK, 0, 0, 0, 0); TELL(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0); }
    TELL(SYS_prctl, PR_GET_TIMING, 0, 0, 0, 0);
    TELL(SYS_prctl, PR_SET_TIMING, 0, 0, 0, 0);
    TELL(SYS_prctl, PR_SET_TIMING, 1, 0, 0, 0);
    TELL(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0);
    TELL(SYS_prctl, PR_GET_TSC, &value, 0, 0, 0);
    SHOW(value);
    TELL(SYS_prctl, PR_SET_TSC, 9, 0, 0, 0);
    TELL(SYS_prctl, PR_GET_TID_ADDRESS, BAD, 0, 0, 0);
    TELL(SYS_prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0);
    TELL(SYS_prctl, PR_GET_THP_DISABLE, 1, 0, 0, 0);
    TELL(SYS_prctl, PR_GET_UNALIGN, &value, 0, 0, 0);
    TELL(SYS_prctl, PR_GET_ENDIAN, &value, 0, 0, 0);
    TELL(SYS_prctl, PR_MCE_KILL_GET, 0, 0, 0, 0);
    TELL(SYS_prctl, 0, 0, 0, 0, 0);
    TELL(SYS_prctl, 999, 0, 0, 0, 0);
    TELL(SYS_prctl, -1, 0, 0, 0, 0);
}

/* A grandchild whose parent dies: who takes it over, and is it told? */
static void subreaper(void)
{
    int value = 99, ends[2];
    char byte;

    TELL(SYS_prctl, PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0);
    SHOW(value);
    TELL(SYS_prctl, PR_GET_CHILD_SUBREAPER, BAD, 0, 0, 0);
    TELL(SYS_prctl, PR_SET_CHILD_SUBREAPER, 7, 0, 0, 0);
    TELL(SYS_prctl, PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0);
    SHOW(value);
    APART { TELL(SYS_prctl, PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0); SHOW(value); }
    if (pipe(ends))
        return;
    APART {
        if (fork() == 0) {
            close(ends[1]);
            if (read(ends[0], &byte, 1) != 0) /* until the parent is gone */
                _exit(1);
            while (getppid() != 1 && kill(getppid(), 0) != 0)
                ;
            usleep(20000);
            _exit(42);
        }
    }
    close(ends[1]);
    close(ends[0]);
    TRY(SYS_wait4, -1, &value, 0, NULL);
    SHOW(WEXITSTATUS(value));
    TELL(SYS_prctl, PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

static void segments(void)
{
    unsigned long base = 0;

    TELL(SYS_arch_prctl, ARCH_SET_GS, 0x1234);
    TELL(SYS_arch_prctl, ARCH_GET_GS, &base);
    SHOW(base);
    TELL(SYS_arch_prctl, ARCH_SET_GS, 0x800000000000);
    TELL(SYS_arch_prctl, ARCH_SET_GS, -1L);
    TELL(SYS_arch_prctl, ARCH_SET_FS, 0x800000000000);
    TELL(SYS_arch_prctl, ARCH_GET_GS, BAD);
    TELL(SYS_arch_prctl, 0x1234, 0);
    APART { TELL(SYS_arch_prctl, ARCH_GET_GS, &base); SHOW(base); }
    TELL(SYS_arch_prctl, ARCH_GET_CPUID, 0);
}

static void personalities(void)
{
    TELL(SYS_personality, 0xffffffff);
    TELL(SYS_personality, ADDR_NO_RANDOMIZE);
    TELL(SYS_personality, 0xffffffff);
    APART TELL(SYS_personality, 0xffffffff);
    TELL(SYS_personality, UNAME26 | READ_IMPLIES_EXEC);
    TELL(SYS_personality, 0);
    TELL(SYS_personality, 0xffffffff);
}

void corners_prctl(void)
{
    APART names();
    death_signal();
    flags();
    subreaper();
    segments();
    personalities();
}
