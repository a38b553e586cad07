#include "server/tool/running.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include "engine/base/pool.h"

static atomic_bool interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    atomic_store(&interrupted, true);
}

void srv_running_begin(int threads)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESETHAND};
    msa_threads_set(threads > 0 ? threads : cores > 0 ? (int)cores : 1);
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
}

const atomic_bool *srv_running_interrupted(void)
{
    return &interrupted;
}
