/* What a process that foreign bytes have taken over would try next. */
#ifndef TESTS_ESCAPES_H
#define TESTS_ESCAPES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct world { /* made before a role is entered */
    char root[64];     /* of everything here */
    char storage[96], outside[96], blob[192];
    int socket_fd; /* a TCP socket that is not connected */
    int port;      /* of a listener that is no role's business */
    int parent;    /* a process of the same user */
} world;

/* Bits of escape.of: the roles that must not succeed. */
enum { OF_RECEIVE = 1, OF_INDEX = 2, OF_WORK = 4, OF_SEND = 8, OF_ALL = 15 };

typedef enum held_by { BY_CALLS, BY_LANDLOCK, BY_LANDLOCK_PORTS } held_by;

typedef struct escape {
    const char *name;
    unsigned of;
    held_by by;
    int (*attempt)(const world *w); /* 0: it succeeded; else errno */
} escape;

extern const escape escapes[];
extern const size_t n_escapes;

#endif
