/* What is promised, and whether it is kept: shared by the two halves of the program `durable`. */
#ifndef TESTS_FAULTS_DURABLE_H
#define TESTS_FAULTS_DURABLE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/hash.h"

/* Lives in ROOT until `objects` are stored, over every step from a received object to a delivered result, and
 * says on standard output what it has promised: stored UID SHA256    an object, as behind a Success done JOB
 * SHA256      a job's result, as before a delivery delivered JOB Returns the exit status: 0; 3: the disk has
 * failed, and it has stopped as core does; 2: anything else. */
int durable_live(const char *root, int objects);

/* Only files, without a catalogue: "blob SHA256" each. */
int durable_put_blobs(const char *root, int objects);

/* After a crash: opens ROOT as core does, recovers, and looks for every promise (lines as above). NULL: all
 * is well; otherwise what is wrong, in memory of its own. */
const char *durable_check(const char *root, char *const *promises, size_t n);

#endif
