/* What the parts of chaos share: arguments at random, and the sorts of call. */
#ifndef GRIND_CHAOS_H
#define GRIND_CHAOS_H

#include "grind.h"

#include <time.h>

enum { FARTHEST = 1 << 20 };

#define P(x) ((long)(x))
#define CHOOSE(array) ((array)[rnd(sizeof(array) / sizeof((array)[0]))])

extern uint64_t harmless_signals; /* may be blocked, waited for and sent */

long any_fd(void);
long any_slot(void); /* the number of a descriptor that chaos may make, copy or close */
long any_pointer(size_t size); /* to room for 64 KB, most of the time */
long any_length(void);
long any_span(long *length); /* a length out of all bounds goes with a pointer that is bad */
long any_path(void);
long any_vectors(size_t *count);
long any_offset(void);
long short_time(void); /* at most 20 microseconds, or what faults */
void adopt(long fd); /* a new descriptor goes into a slot, whatever was there */
void adopt_pair(long result, const int *pair);
void arguments_start(void);

/* grind_files.c */
void opens(void);
void closes(void);
void reads_writes(void);
void vectored(void);
void seeks(void);
void sizes(void);
void allocates(void);
void stats(void);
void names(void);
void attributes(void);
void lists(void);
void transfers(void);
void locks(void);

/* grind_descriptors.c */
void controls(void);
void duplicates(void);
void pipes(void);
void events(void);
void epolls(void);
void polls(void);
void sockets(void);
void memory_files(void);

#endif
