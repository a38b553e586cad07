#include "engine/sam/spare.h"

#include <pthread.h>
#include <stddef.h>

typedef struct kept {
    uint64_t owner;
    void *thing;
    msa_spare_free_fn *free_thing;
} kept;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static kept spare;

/* Puts `next` in its place. */
static kept exchange(kept next)
{
    pthread_mutex_lock(&lock);
    const kept before = spare;
    spare = next;
    pthread_mutex_unlock(&lock);
    return before;
}

void msa_spare_put(uint64_t owner, void *thing, msa_spare_free_fn *free_thing)
{
    const kept before = exchange((kept){owner, thing, free_thing});
    if (before.thing != NULL) before.free_thing(before.thing);
}

void *msa_spare_take(uint64_t owner)
{
    void *thing = NULL;
    pthread_mutex_lock(&lock);
    if (spare.thing != NULL && spare.owner == owner) {
        thing = spare.thing;
        spare = (kept){0};
    }
    pthread_mutex_unlock(&lock);
    return thing;
}

void msa_spare_drop(uint64_t owner)
{
    kept of_owner = {0};
    pthread_mutex_lock(&lock);
    if (spare.owner == owner) {
        of_owner = spare;
        spare = (kept){0};
    }
    pthread_mutex_unlock(&lock);
    if (of_owner.thing != NULL) of_owner.free_thing(of_owner.thing);
}
