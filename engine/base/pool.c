#include "engine/base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "engine/base/log.h"

/* A forward pass is a hundred jobs close after one another, and to be woken takes as long as a small one: so
 * who waits looks for some microseconds before it sleeps. */
#define LOOKS 300

typedef struct pool_job {
    msa_pool_fn *fn;
    void *ctx;
    int32_t n_items;
    int32_t max_workers;
    atomic_int next; /* first item that nobody has taken */
} pool_job;

static struct {
    pthread_mutex_t owner; /* held by the caller whose job the pool serves */
    pthread_mutex_t lock;  /* guards everything below */
    pthread_cond_t wake, idle;
    pthread_t threads[MSA_THREADS_MAX];
    int wanted, running;     /* the caller counts in wanted, not in running */
    int joined;              /* helpers that ever were in the present job */
    atomic_int working;      /* and those that still are; written under the lock */
    atomic_ulong generation; /* written under the lock */
    bool stop;
    pool_job *job;
} pool = {.owner = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .idle = PTHREAD_COND_INITIALIZER,
          .wanted = 1};

static void work_on(pool_job *job, int32_t worker)
{
    for (;;) {
        const int item = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (item >= job->n_items) return;
        job->fn(job->ctx, item, worker);
    }
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Lets go of the lock for as long as it looks for a job after `generation`. */
static void look_for_job(unsigned long generation)
{
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < LOOKS && atomic_load(&pool.generation) == generation; i++)
        relax();
    pthread_mutex_lock(&pool.lock);
}

static void *helper(void *unused)
{
    (void)unused;
    unsigned long seen = 0;
    bool looked = false;
    pthread_mutex_lock(&pool.lock);
    while (!pool.stop) {
        if (pool.job == NULL || pool.generation == seen || pool.joined + 1 >= pool.job->max_workers) {
            if (looked)
                pthread_cond_wait(&pool.wake, &pool.lock);
            else
                look_for_job(pool.generation);
            looked = !looked;
            continue;
        }
        looked = false;
        seen = pool.generation;
        pool_job *job = pool.job;
        const int32_t worker = ++pool.joined;
        pool.working++;
        pthread_mutex_unlock(&pool.lock);
        work_on(job, worker);
        pthread_mutex_lock(&pool.lock);
        if (--pool.working == 0) pthread_cond_signal(&pool.idle);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* Signals stay with the threads that know about them. A thread that cannot start is one thread fewer. */
static void start_helpers(void)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.running < pool.wanted - 1) {
        if (pthread_create(&pool.threads[pool.running], NULL, helper, NULL) != 0) {
            pool.wanted = pool.running + 1;
            break;
        }
        pool.running++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void msa_threads_set(int n)
{
    const int wanted = n < 1 ? 1 : n > MSA_THREADS_MAX ? MSA_THREADS_MAX : n;
    pthread_mutex_lock(&pool.owner);
    pthread_mutex_lock(&pool.lock);
    pool.stop = true;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < pool.running; i++)
        (void)pthread_join(pool.threads[i], NULL);
    pool.running = 0;
    pool.stop = false;
    const bool changed = pool.wanted != wanted;
    pool.wanted = wanted;
    pthread_mutex_unlock(&pool.owner);
    if (changed) msa_log(MSA_LOG_INFO, "engine", "threads=%d", wanted);
}

int msa_threads_get(void)
{
    pthread_mutex_lock(&pool.lock);
    const int n = pool.wanted;
    pthread_mutex_unlock(&pool.lock);
    return n;
}

void msa_pool_run(msa_pool_fn *fn, void *ctx, int32_t n_items, int32_t max_workers)
{
    pool_job job = {.fn = fn, .ctx = ctx, .n_items = n_items, .max_workers = max_workers};
    atomic_init(&job.next, 0);
    if (n_items <= 1 || max_workers <= 1 || pthread_mutex_trylock(&pool.owner) != 0) {
        work_on(&job, 0);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    start_helpers();
    pool.job = &job;
    pool.joined = 0;
    pool.generation++;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    work_on(&job, 0);
    for (int i = 0; i < LOOKS && atomic_load(&pool.working) > 0; i++)
        relax();
    pthread_mutex_lock(&pool.lock);
    pool.job = NULL; /* a helper that has not joined yet has nothing to do */
    while (pool.working > 0)
        pthread_cond_wait(&pool.idle, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&pool.owner);
}
