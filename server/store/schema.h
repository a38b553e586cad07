/* The numbered steps of config/schema, compiled in, and the one function that applies them. Private to
 * store/. */
#ifndef SRV_STORE_SCHEMA_H
#define SRV_STORE_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"

struct sqlite3;

typedef struct srv_schema_step {
    int version; /* the user_version it leads to */
    const char *name, *sql;
} srv_schema_step;

extern const srv_schema_step srv_schema_steps[];
extern const size_t srv_schema_n_steps;

#define SRV_SCHEMA_APPLICATION_ID 1297301828 /* 'MSAD', in the file's header */

/**
 * Brings an empty or older database up to the last of `steps`, each step in one transaction of its own.
 * Errors: MSA_E_PARSE for a database of another program or of a newer msad; then it is untouched.
 */
MSA_NODISCARD msa_status srv_schema_migrate(struct sqlite3 *db, const srv_schema_step *steps, size_t n_steps,
                                            msa_error *err);

#endif
