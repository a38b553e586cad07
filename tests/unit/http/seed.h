/* Rows for the HTTP tests, made through the catalogue's own interface: one series for each way a job can
 * stand. */
#ifndef TESTS_UNIT_HTTP_SEED_H
#define TESTS_UNIT_HTTP_SEED_H

#include "server/blob/blob.h"
#include "server/store/store.h"

#define SEED_SERIES                                                                                          \
    "1.2.3.4" /* .1 succeeded .2 empty .3 failed .4 waits for prompts .5 open .6 and more queued */
#define SEED_QUEUED 3

/* Prints one line "NAME PUBLIC_ID" a job. */
MSA_NODISCARD msa_status seed_all(srv_store *store, srv_blobs *blobs, msa_error *err);
/* Claims the oldest queued job and ends it; `how`: "done", "empty", "fail". *public_id: the job's. */
MSA_NODISCARD msa_status seed_finish(srv_store *store, const char *how, char public_id[33], msa_error *err);

/* The two halves of it: a worker takes the next job, and brings its result, with a delivery. */
msa_status seed_claim(srv_store *store, srv_job *job, msa_error *err);
msa_status seed_end(srv_store *store, const srv_job *job, msa_error *err);

#endif
