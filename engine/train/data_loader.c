/* Samples made ahead of their use, in order. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "engine/train/data.h"

enum { THREADS_MAX = 16 };

typedef struct slot {
    msa_sample *sample;
    uint64_t number; /* which sample it holds, when ready */
    bool ready;
    msa_status status;
    msa_error error;
} slot;

struct msa_loader {
    const msa_source *source;
    uint64_t first_step;
    int32_t batch, ahead;
    slot *slots; /* sample number n goes to slot n % ahead */
    pthread_mutex_t lock;
    pthread_cond_t made, taken;
    uint64_t next_made, next_taken; /* numbers given out, numbers handed over */
    bool stop;
    int32_t running;
    pthread_t threads[THREADS_MAX];
};

static void make(const msa_loader *l, slot *s, uint64_t number)
{
    s->error = (msa_error)MSA_ERROR_INIT;
    s->status = msa_source_next(l->source, l->first_step + number / (uint64_t)l->batch,
                                (int32_t)(number % (uint64_t)l->batch), s->sample, &s->error);
}

static void *work(void *ctx)
{
    msa_loader *l = ctx;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (l->next_made - l->next_taken >= (uint64_t)l->ahead) {
            pthread_cond_wait(&l->taken, &l->lock);
            continue;
        }
        const uint64_t number = l->next_made++;
        slot *s = &l->slots[number % (uint64_t)l->ahead];
        pthread_mutex_unlock(&l->lock);
        make(l, s, number); /* the slot is this thread's until it is ready */
        pthread_mutex_lock(&l->lock);
        s->number = number;
        s->ready = true;
        pthread_cond_broadcast(&l->made);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static msa_status start(msa_loader *l, int32_t threads, msa_error *err)
{
    sigset_t all, before;
    sigfillset(&all); /* signals are for the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (l->running < threads && pthread_create(&l->threads[l->running], NULL, work, l) == 0)
        l->running++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (l->running == 0) return msa_fail(err, MSA_E_NOMEM, "no thread can be started for loading");
    return MSA_OK; /* fewer threads give the same samples */
}

msa_status msa_loader_new(msa_loader **out, const msa_source *source, uint64_t first_step, int32_t batch,
                          int32_t depth, int32_t size, int32_t targets_max, int32_t threads, int32_t ahead,
                          msa_error *err)
{
    *out = NULL;
    if (threads < 1 || ahead < 1 || batch < 1)
        return msa_fail(err, MSA_E_INVALID, "loading with %d threads, %d ahead, batches of %d", threads,
                        ahead, batch);
    msa_loader *made = calloc(1, sizeof *made);
    if (!made) return msa_fail(err, MSA_E_NOMEM, "out of memory for loading");
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->made, NULL);
    pthread_cond_init(&made->taken, NULL);
    MSA_AUTO(msa_loader) l = made;
    l->source = source;
    l->first_step = first_step;
    l->batch = batch;
    l->slots = calloc((size_t)ahead, sizeof *l->slots);
    if (!l->slots) return msa_fail(err, MSA_E_NOMEM, "out of memory for loading");
    l->ahead = ahead;
    for (int32_t k = 0; k < ahead; k++)
        MSA_TRY(msa_sample_new(&l->slots[k].sample, depth, size, targets_max, err));
    MSA_TRY(start(l, threads > THREADS_MAX ? THREADS_MAX : threads, err));
    *out = MSA_STEAL(l);
    return MSA_OK;
}

void msa_loader_free(msa_loader *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->taken);
    pthread_mutex_unlock(&l->lock);
    for (int32_t k = 0; k < l->running; k++)
        pthread_join(l->threads[k], NULL);
    for (int32_t k = 0; k < l->ahead; k++)
        msa_sample_free(l->slots[k].sample);
    free(l->slots);
    pthread_cond_destroy(&l->taken);
    pthread_cond_destroy(&l->made);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int64_t msa_loader_first_step(const msa_loader *l)
{
    return (int64_t)l->first_step;
}

msa_status msa_loader_next(msa_loader *l, msa_sample *sample, msa_error *err)
{
    pthread_mutex_lock(&l->lock);
    slot *s = &l->slots[l->next_taken % (uint64_t)l->ahead];
    while (!s->ready || s->number != l->next_taken)
        pthread_cond_wait(&l->made, &l->lock);
    const msa_status status = s->status;
    const msa_error why = s->error;
    const bool fits = sample->depth == s->sample->depth && sample->size == s->sample->size &&
                      sample->targets_max == s->sample->targets_max;
    if (status == MSA_OK && fits) {
        const msa_sample was = *sample;
        *sample = *s->sample;
        *s->sample = was;
    }
    if (fits) { /* a caller's mistake takes nothing */
        s->ready = false;
        l->next_taken++;
        pthread_cond_broadcast(&l->taken);
    }
    pthread_mutex_unlock(&l->lock);
    if (!fits) return msa_fail(err, MSA_E_INVALID, "the sample is not of the loader's size");
    if (status != MSA_OK && err && err->status == MSA_OK) *err = why;
    return status;
}
