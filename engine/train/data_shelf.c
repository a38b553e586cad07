/* Sets of cases that are larger than memory: a shelf of some of them, on which one is changed now and then.
 */
#include <pthread.h>
#include <stdlib.h>

#include "engine/train/data_volumes.h"

enum { SPARE = 2 }; /* more than a shelf's worth may be open: loaders are at different steps */

typedef struct place {
    msa_stock stock;
    bool open, opening;
    int32_t users;
    uint64_t used; /* when, by the shelf's count */
} place;

struct msa_shelf {
    msa_volumes_options options;
    msa_case_set set;
    int32_t n, at_once;
    place *places;           /* (n) */
    pthread_mutex_t reading; /* one case is opened at a time */
    pthread_mutex_t lock;    /* of what follows, and of the places */
    pthread_cond_t opened;
    int32_t n_open;
    uint64_t count;
};

/* ---- which case ---- */

static int32_t common_divisor(int32_t a, int32_t b)
{
    while (b != 0) {
        const int32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The case at a position of an endless row of rounds: each holds every case once, in another order. */
static int32_t case_at(const msa_shelf *s, uint64_t position)
{
    const uint64_t n = (uint64_t)s->n;
    msa_rng r = msa_rng_key(s->options.seed ^ 0x5E1F, position / n, n);
    const uint64_t from = (uint64_t)msa_rng_below(&r, s->n);
    int32_t stride;
    do
        stride = msa_rng_int(&r, 1, s->n);
    while (common_divisor(stride, s->n) != 1);
    return (int32_t)((from + (uint64_t)stride * (position % n)) % n);
}

/* ---- opening and closing ---- */

/* Of the open ones that nobody uses, the one that was not used for longest. */
static place *oldest(const msa_shelf *s)
{
    place *found = NULL;
    for (int32_t k = 0; k < s->n; k++) {
        place *p = &s->places[k];
        if (p->open && p->users == 0 && (!found || p->used < found->used)) found = p;
    }
    return found;
}

/* Room for one more. The lock is held. */
static void make_room(msa_shelf *s)
{
    place *p;
    while (s->n_open >= s->at_once + SPARE && (p = oldest(s))) {
        msa_stock_clear(&p->stock);
        p->open = false;
        s->n_open--;
    }
}

static msa_status open_place(msa_shelf *s, int32_t number, place *p, msa_error *err)
{
    msa_case *volume = NULL;
    pthread_mutex_lock(&s->reading);
    msa_status status = s->set.open(s->set.ctx, number, &volume, err);
    pthread_mutex_unlock(&s->reading);
    if (status != MSA_OK) return status;
    status = msa_stock_fill(&p->stock, volume, &s->options, err);
    if (status != MSA_OK) msa_stock_clear(&p->stock);
    return status;
}

msa_status msa_shelf_take(msa_shelf *s, uint64_t step, uint64_t pick, const msa_stock **out, msa_error *err)
{
    const uint64_t first = s->at_once < s->n ? step / (uint64_t)s->options.renew_every : 0;
    const int32_t number = case_at(s, first + pick % (uint64_t)s->at_once);
    place *p = &s->places[number];
    msa_status status = MSA_OK;
    pthread_mutex_lock(&s->lock);
    while (p->opening)
        pthread_cond_wait(&s->opened, &s->lock);
    if (!p->open) {
        make_room(s);
        p->opening = true;
        pthread_mutex_unlock(&s->lock);
        status = open_place(s, number, p, err);
        pthread_mutex_lock(&s->lock);
        p->opening = false;
        p->open = status == MSA_OK;
        s->n_open += p->open;
        pthread_cond_broadcast(&s->opened);
    }
    if (status == MSA_OK) {
        p->users++;
        p->used = s->count++;
    }
    pthread_mutex_unlock(&s->lock);
    *out = status == MSA_OK ? &p->stock : NULL;
    return status;
}

void msa_shelf_give_back(msa_shelf *s, const msa_stock *stock)
{
    pthread_mutex_lock(&s->lock);
    ((place *)stock)->users--; /* the stock is a place's first member */
    pthread_mutex_unlock(&s->lock);
}

/* ---- the whole ---- */

void msa_shelf_free(msa_shelf *s)
{
    if (!s) return;
    for (int32_t k = 0; s->places && k < s->n; k++)
        msa_stock_clear(&s->places[k].stock);
    free(s->places);
    pthread_cond_destroy(&s->opened);
    pthread_mutex_destroy(&s->reading);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* What a run begins with is opened now, so that what is wrong with it shows at once. */
static msa_status open_first(msa_shelf *s, msa_error *err)
{
    bool any = false;
    for (int32_t k = 0; k < s->at_once; k++) {
        const msa_stock *stock;
        MSA_TRY(msa_shelf_take(s, 0, (uint64_t)k, &stock, err));
        any = any || !msa_stock_is_empty(stock);
        msa_shelf_give_back(s, stock);
    }
    if (any) return MSA_OK;
    return msa_fail(err, MSA_E_INVALID, "no label of the cases can be a target");
}

msa_status msa_shelf_new(msa_shelf **out, const msa_case_set *set, const msa_volumes_options *options,
                         msa_error *err)
{
    *out = NULL;
    if (set->n < 1) return msa_fail(err, MSA_E_INVALID, "no case to take samples from");
    msa_shelf *made = calloc(1, sizeof *made);
    if (!made) return msa_fail(err, MSA_E_NOMEM, "out of memory for the cases");
    pthread_mutex_init(&made->reading, NULL);
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->opened, NULL);
    MSA_AUTO(msa_shelf) s = made;
    s->options = *options;
    s->set = *set;
    s->n = set->n;
    s->at_once = options->at_once > 0 && options->at_once < set->n ? options->at_once : set->n;
    s->places = calloc((size_t)s->n, sizeof *s->places);
    if (!s->places) return msa_fail(err, MSA_E_NOMEM, "out of memory for the cases");
    MSA_TRY(open_first(s, err));
    *out = MSA_STEAL(s);
    return MSA_OK;
}
