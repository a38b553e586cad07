/**
 * A library that tests preload (LD_PRELOAD) into a program to be the disk that fails, and to write down what
 * the program asked of its disk. It looks at files below one folder only.
 *
 *   FAULT_ROOT  the folder, absolute; its storage folder is made below it, so the sync of the parent shows
 *   FAULT_PLAN  a file of SHIM_PLAN_BYTES: the one fault that is to happen; a test may change it any time
 *   FAULT_LOG   a file as large as the log may get, of zeros but for its first eight bytes, which hold the
 *               number 8: every change below the root, in order, as records (shim_record)
 *   FAULT_SKIP  "MODULE:GLOB": syncs by this program or library of a file or folder of that name below the
 *               root do nothing and are not recorded, as if the line were not in the code
 *
 * Plan and log are mapped before main(): a role that has locked itself in, and has closed all descriptors,
 * still has them.
 */
#ifndef TESTS_FAULTS_SHIM_H
#define TESTS_FAULTS_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SHIM_PATH_MAX   192
#define SHIM_PLAN_BYTES 256

/* FAULT_PLAN: text "CALL ENDING K ACTION PROCESS", then two words that both sides write. */
typedef struct shim_plan {
    char text[SHIM_PLAN_BYTES -
              8]; /* CALL: a name, "sync", "any"; ENDING: of the path, "*"; K: from 1; ACTION: an errno,
                     kill, half (of a write, then kill); PROCESS: core, receive, ..., "*" */
    uint32_t generation; /* raised by the test: calls are counted anew */
    uint32_t fired;      /* set once, by whoever was first */
} shim_plan;

typedef enum shim_op {
    SHIM_CREATE = 1, /* path, inode */
    SHIM_MKDIR,      /* path */
    SHIM_WRITE,      /* inode, offset, bytes */
    SHIM_TRUNCATE,   /* inode, offset: the new size */
    SHIM_SYNC,       /* inode; offset: the place in the log where the sync began, so what stands before it is
                        covered */
    SHIM_SYNC_DIR,   /* path; offset as above */
    SHIM_RENAME,     /* path, bytes: the new path */
    SHIM_LINK,       /* path, bytes: the new path */
    SHIM_UNLINK,     /* path */
    SHIM_SAID,       /* bytes that went to standard output or a socket: a promise may be in them */
} shim_op;

typedef struct shim_record { /* then the path, then the bytes */
    uint32_t op, pid;
    uint64_t inode, offset;
    uint32_t path_size, bytes_size;
} shim_record;

/* log.c */
void shim_log_open(void);
uint64_t shim_log_end(void); /* where the next record will stand */
void shim_log(shim_op op, const char *path, uint64_t inode, uint64_t offset, const void *bytes, size_t size);
bool shim_logging(void);

/* plan.c: 0: go on. Otherwise the errno that the call is to fail with; a kill does not return. half: called
 * on a write before the kill. */
void shim_plan_open(void);
int shim_plan_fires(const char *call, const char *path, void (*half)(void *ctx), void *ctx);
/* Is the sync of this path by the caller at `from` one that is left out? */
bool shim_plan_skips(const char *path, const void *from);

#endif
