/* The system's own facts and names. */
#include "corners.h"

#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

void corners_system(void)
{
    struct utsname names;
    struct sysinfo facts;
    char room[80] = "";

    for (unsigned flags = 0; flags < 10; flags++)
        TELL(SYS_getrandom, room, 8, flags);
    TELL(SYS_getrandom, BAD, 8, 0);
    TELL(SYS_getrandom, BAD, 0, 0);
    TELL(SYS_getrandom, NULL, 0, 8);
    TELL(SYS_uname, &names);
    TELL(SYS_uname, BAD);
    TELL(SYS_sysinfo, &facts);
    SHOW(facts.mem_unit);
    SHOW(facts.totalram > facts.freeram && facts.procs > 0);
    TELL(SYS_sysinfo, BAD);
    TELL(SYS_umask, 0777777);
    TELL(SYS_umask, 022);
    APART {
        become_nobody();
        TELL(SYS_sethostname, "nobody", 6);
        TELL(SYS_setdomainname, "nobody", 6);
        TELL(SYS_reboot, 1, 2, 3, NULL);
        TELL(SYS_iopl, 3);
        TELL(SYS_ioperm, 0x80, 1, 1);
        TELL(SYS_chroot, "/");
        TELL(SYS_init_module, room, 8, "");
        TELL(SYS_delete_module, "x", 0);
    }
    TELL(SYS_sethostname, room, 65);
    TELL(SYS_sethostname, room, -1);
    TELL(SYS_sethostname, BAD, 5);
    TELL(SYS_setdomainname, room, 65);
    TELL(SYS_setdomainname, BAD, 5);
    TELL(SYS_reboot, 1, 2, 3, NULL);
    TELL(SYS_reboot, 0xfee1dead, 2, 3, NULL);
    TELL(SYS_reboot, 0xfee1dead, 0x28121969, 3, NULL);
    TELL(SYS_iopl, 4);
    TELL(SYS_sync);
    TELL(SYS_syncfs, 999);
    TELL(SYS_restart_syscall);
    TELL(400);
    TELL(1000);
    TELL(-1);
}
