/*
 * Corner cases of system calls, one line each: `call -> outcome`. An outcome is
 * a number, or the name of an errno, or "ok" where the number may differ from
 * run to run. The calls are made raw: the C library has opinions of its own.
 */
#ifndef CORNERS_H
#define CORNERS_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The number that a call answers, or its errno. */
#define TELL(...) tell(#__VA_ARGS__, syscall(__VA_ARGS__))
/* The same, with "ok" for every number. */
#define TRY(...) tell_ok(#__VA_ARGS__, syscall(__VA_ARGS__))
/* A value that a call has left behind. */
#define SHOW(value) printf("  %s is %lld\n", #value, (long long)(value))
/* Everything in the block happens in a child, which the parent waits for. */
#define APART for (int apart_ = begin_apart(); apart_; apart_ = end_apart())

void tell(const char *call, long result);
void tell_ok(const char *call, long result);
int begin_apart(void);
int end_apart(void);
/* Become an ordinary user, for good. */
void become_nobody(void);
/* A child that sleeps until `end_sleeper`. */
pid_t begin_sleeper(void);
void end_sleeper(pid_t pid);

enum { NOBODY = 65534, NO_SUCH_PID = 4000000 };
#define BAD ((void *)8)

void corners_time(void);
void corners_timers(void);
void corners_events(void);
void corners_ids(void);
void corners_limits(void);
void corners_scheduling(void);
void corners_prctl(void);
void corners_process(void);
void corners_system(void);
void corners_signals(void);
void corners_stack(void);
void corners_futex(void);

#endif
