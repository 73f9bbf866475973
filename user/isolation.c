/*
 * What a program may not do, one subcommand each. Every one of them ends by
 * the signal that Linux would send; "isolation list" names them all.
 *
 *   isolation NAME          commit the offence and die of it
 *   isolation report NAME   catch the signal, print what the kernel told of it
 *                           (signal, si_code, si_addr), and exit 0
 *
 * An offence that goes unpunished exits 99.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KERNEL_ADDRESS 0xffff800000000000ul
#define NONCANONICAL_ADDRESS 0x0001000000000000ul

enum { PAGE = 4096, ALTERNATE_STACK = 65536 };

static const char read_only[PAGE] __attribute__((aligned(PAGE))) = "constant";
static unsigned char code_in_data[16] = {0xc3}; /* ret */
static int handling;

/* An address in a page that was mapped and is no more. */
static char *unmapped(void)
{
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED || munmap(page, PAGE) != 0)
        exit(98);
    return page;
}

/* The same address, but the compiler cannot reason about it. */
static uintptr_t hidden(uintptr_t address)
{
    __asm__("" : "+r"(address));
    return address;
}

static void jump(uintptr_t address)
{
    ((void (*)(void))address)();
}

/* Memory */
static void segv_null(void) { *(volatile int *)0 = 1; }
static void segv_read_null(void) { (void)*(volatile char *)hidden(8); }
static void segv_readonly(void) { *(volatile char *)read_only = 1; }
static void segv_text(void) { *(volatile char *)(uintptr_t)segv_null = 1; }
static void segv_unmapped(void) { *(volatile char *)unmapped() = 1; }
static void segv_kernel_read(void) { (void)*(volatile char *)KERNEL_ADDRESS; }
static void segv_kernel_write(void) { *(volatile char *)KERNEL_ADDRESS = 1; }
static void segv_top_page(void) { *(volatile char *)0xfffffffffffff000ul = 1; }
static void segv_noncanonical(void) { (void)*(volatile char *)NONCANONICAL_ADDRESS; }

static void segv_prot_none(void)
{
    volatile char *page = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)*page;
}

static void bus_past_end(void)
{
    char path[] = "/tmp/isolation.XXXXXX";
    int fd = mkstemp(path);

    unlink(path);
    volatile char *page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    (void)*page; /* the file is empty: SIGBUS */
}

/* Control flow */
static void jump_null(void) { jump(0); }
static void jump_kernel(void) { jump(KERNEL_ADDRESS); }
static void jump_noncanonical(void) { jump(NONCANONICAL_ADDRESS); }
static void exec_nx_data(void) { jump((uintptr_t)code_in_data); }

static void exec_nx_stack(void)
{
    volatile unsigned char code[16] = {0xc3};

    jump((uintptr_t)code);
}

static int descend(volatile char *above)
{
    volatile char frame[PAGE];

    frame[0] = above[0];
    if (frame[0] == 0)
        return 0;
    return descend(frame) + frame[0];
}

static void stack_overflow(void)
{
    char top = 1;

    descend(&top);
}

static void stack_kernel(void)
{
    __asm__ volatile("movabs $0xffff800000001000, %rsp; push %rax");
}

/* Instructions */
static void sigill(void) { __asm__ volatile("ud2"); }
static void sigfpe(void) { __asm__ volatile("xor %%edx, %%edx; xor %%ecx, %%ecx; div %%ecx" ::: "eax", "ecx", "edx"); }

static void sigfpe_overflow(void)
{
    __asm__ volatile("mov $0x80000000, %%eax; cltd; mov $-1, %%ecx; idiv %%ecx" ::: "eax", "ecx", "edx");
}

static void int3(void) { __asm__ volatile("int3"); }
static void int_page_fault(void) { __asm__ volatile("int $14"); }
static void int_unused(void) { __asm__ volatile("int $0x31"); }

static void trap_flag(void)
{
    __asm__ volatile("sub $128, %%rsp; pushf; orl $0x100, (%%rsp); popf; nop; nop; add $128, %%rsp" ::: "memory", "cc");
}

/* Privileged instructions */
static void priv_hlt(void) { __asm__ volatile("hlt"); }
static void priv_cli(void) { __asm__ volatile("cli"); }
static void priv_sti(void) { __asm__ volatile("sti"); }
static void priv_cr3(void) { __asm__ volatile("mov %0, %%cr3" ::"r"(0ul)); }
static void priv_cr0_read(void) { __asm__ volatile("mov %%cr0, %%rax" ::: "rax"); }
static void priv_in(void) { __asm__ volatile("in $0x60, %%al" ::: "rax"); }
static void priv_out(void) { __asm__ volatile("out %%al, $0x64" :::); }
static void priv_rdmsr(void) { __asm__ volatile("rdmsr" ::"c"(0xc0000080) : "rax", "rdx"); }
static void priv_wrmsr(void) { __asm__ volatile("wrmsr" ::"c"(0xc0000082), "a"(0), "d"(0)); }
static void priv_swapgs(void) { __asm__ volatile("swapgs"); }
static void priv_sysret(void) { __asm__ volatile("sysretq" ::"c"(KERNEL_ADDRESS)); }
static void priv_invlpg(void) { __asm__ volatile("invlpg (%0)" ::"r"(0ul)); }
static void priv_wbinvd(void) { __asm__ volatile("wbinvd"); }

static void priv_lgdt(void)
{
    static char descriptor[10];

    __asm__ volatile("lgdt (%0)" ::"r"(descriptor));
}

static void priv_lidt(void)
{
    static char descriptor[10];

    __asm__ volatile("lidt (%0)" ::"r"(descriptor));
}

static void priv_clts(void) { __asm__ volatile("clts"); }
static void priv_lmsw(void) { __asm__ volatile("lmsw %w0" ::"r"(0)); }
static void priv_dr7(void) { __asm__ volatile("mov %0, %%dr7" ::"r"(0ul)); }
static void priv_insb(void) { __asm__ volatile("insb" ::"d"(0x60), "D"(code_in_data) : "memory"); }
static void load_kernel_ss(void) { __asm__ volatile("mov %w0, %%ss" ::"r"(0x18)); }

static void far_jump_to_kernel(void)
{
    static struct { uint32_t offset; uint16_t selector; } __attribute__((packed)) target = {0x1000, 8};

    __asm__ volatile("ljmpl *%0" ::"m"(target));
}

static void priv_ltr(void) { __asm__ volatile("ltr %w0" ::"r"(8)); }

static void iret_to_kernel(void)
{
    __asm__ volatile("mov %%rsp, %%rbx; push $0; push %%rbx; push $2; push $8; push $0; iretq" ::: "rbx", "memory");
}

/* Faults upon faults */
static void handler_faults(int number)
{
    (void)number;
    segv_null();
}

/* The frame of the handler cannot be written: there is no stack for it. */
static void double_fault_in_handler(void)
{
    stack_t stack = {.ss_sp = unmapped(), .ss_size = ALTERNATE_STACK};
    struct sigaction action = {.sa_handler = handler_faults, .sa_flags = SA_ONSTACK};

    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    segv_null();
}

/* The handler commits the offence again while its signal is blocked. */
static void fault_in_handler(void)
{
    struct sigaction action = {.sa_handler = handler_faults};

    sigaction(SIGSEGV, &action, NULL);
    segv_null();
}

static void fault_while_ignored(void)
{
    signal(SIGSEGV, SIG_IGN);
    segv_null();
}

static void fault_while_blocked(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    segv_null();
}

/* A signal frame whose registers name the kernel. */
static void sigreturn_forged(void)
{
    __asm__ volatile("mov $0xffff800000000000, %%rsp; mov $15, %%eax; syscall" ::: "rax", "memory");
}

struct offence {
    const char *name;
    void (*commit)(void);
    int masked; /* si_addr depends on where the stack or a mapping is */
};

static const struct offence offences[] = {
    {"segv-null", segv_null, 0},
    {"segv-read-null", segv_read_null, 0},
    {"segv-readonly", segv_readonly, 0},
    {"segv-text", segv_text, 0},
    {"segv-unmapped", segv_unmapped, 1},
    {"segv-prot-none", segv_prot_none, 1},
    {"segv-kernel-read", segv_kernel_read, 0},
    {"segv-kernel-write", segv_kernel_write, 0},
    {"segv-top-page", segv_top_page, 0},
    {"segv-noncanonical", segv_noncanonical, 0},
    {"bus-past-end", bus_past_end, 1},
    {"jump-null", jump_null, 0},
    {"jump-kernel", jump_kernel, 0},
    {"jump-noncanonical", jump_noncanonical, 0},
    {"exec-nx-data", exec_nx_data, 0},
    {"exec-nx-stack", exec_nx_stack, 1},
    {"stack-overflow", stack_overflow, 1},
    {"stack-kernel", stack_kernel, 0},
    {"sigill", sigill, 0},
    {"sigfpe", sigfpe, 0},
    {"sigfpe-overflow", sigfpe_overflow, 0},
    {"int3", int3, 0},
    {"int-page-fault", int_page_fault, 0},
    {"int-unused", int_unused, 0},
    {"trap-flag", trap_flag, 0},
    {"priv-hlt", priv_hlt, 0},
    {"priv-cli", priv_cli, 0},
    {"priv-sti", priv_sti, 0},
    {"priv-cr3", priv_cr3, 0},
    {"priv-cr0-read", priv_cr0_read, 0},
    {"priv-in", priv_in, 0},
    {"priv-out", priv_out, 0},
    {"priv-rdmsr", priv_rdmsr, 0},
    {"priv-wrmsr", priv_wrmsr, 0},
    {"priv-swapgs", priv_swapgs, 0},
    {"priv-sysret", priv_sysret, 0},
    {"priv-invlpg", priv_invlpg, 0},
    {"priv-wbinvd", priv_wbinvd, 0},
    {"priv-lgdt", priv_lgdt, 0},
    {"priv-ltr", priv_ltr, 0},
    {"priv-lidt", priv_lidt, 0},
    {"priv-clts", priv_clts, 0},
    {"priv-lmsw", priv_lmsw, 0},
    {"priv-dr7", priv_dr7, 0},
    {"priv-insb", priv_insb, 0},
    {"load-kernel-ss", load_kernel_ss, 0},
    {"far-jump-to-kernel", far_jump_to_kernel, 0},
    {"iret-to-kernel", iret_to_kernel, 0},
    {"double-fault-in-handler", double_fault_in_handler, 1},
    {"fault-in-handler", fault_in_handler, 0},
    {"fault-while-ignored", fault_while_ignored, 0},
    {"fault-while-blocked", fault_while_blocked, 0},
    {"sigreturn-forged", sigreturn_forged, 0},
};

enum { OFFENCES = sizeof(offences) / sizeof(offences[0]) };

static const struct offence *chosen;

static void tell(int number, siginfo_t *info, void *context)
{
    char line[128];
    int length;

    (void)context;
    if (handling++)
        _exit(97);
    if (chosen->masked)
        length = snprintf(line, sizeof line, "signal %d code %d\n", number, info->si_code);
    else
        length = snprintf(line, sizeof line, "signal %d code %d address %#lx\n", number, info->si_code,
                          (unsigned long)info->si_addr);
    if (write(1, line, (size_t)length) != length)
        _exit(96);
    _exit(0);
}

static void catch_all(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    static char room[ALTERNATE_STACK];
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction action = {.sa_sigaction = tell, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigaltstack(&stack, NULL);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaction(signals[i], &action, NULL);
}

int main(int argc, char **argv)
{
    const char *name = argc == 3 && strcmp(argv[1], "report") == 0 ? argv[2] : argv[1];

    if (argc == 2 && strcmp(name, "list") == 0) {
        for (int i = 0; i < OFFENCES; i++)
            puts(offences[i].name);
        return 0;
    }
    for (int i = 0; argc > 1 && i < OFFENCES; i++) {
        if (strcmp(offences[i].name, name) != 0)
            continue;
        chosen = &offences[i];
        if (argc == 3)
            catch_all();
        chosen->commit();
        fprintf(stderr, "%s: unpunished\n", name);
        return 99;
    }
    fprintf(stderr, "usage: isolation [report] NAME | isolation list\n");
    return 2;
}
