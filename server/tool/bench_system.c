/* What the system tells about time and memory, and other programs. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/tool/bench.h"

#define OUTPUT_LINE 512

static double clock_ms(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

srv_bench_moment srv_bench_now(void)
{
    return (srv_bench_moment){clock_ms(CLOCK_MONOTONIC), clock_ms(CLOCK_PROCESS_CPUTIME_ID)};
}

double srv_bench_peak_mib(void)
{
    char line[256];
    double kib = (double)NAN;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmHWM:", 6) == 0) kib = strtod(line + 6, NULL);
    if (f) (void)fclose(f);
    return kib / 1024.0;
}

/* Where this is not allowed, peaks are those since the start: too high, never too low. */
void srv_bench_peak_reset(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (!f) return;
    (void)fputs("5\n", f);
    (void)fclose(f);
}

/* ---- another program ---- */

/* The last line that is not empty. */
static void read_last_line(FILE *from, char last[OUTPUT_LINE])
{
    char line[OUTPUT_LINE];
    last[0] = '\0';
    while (fgets(line, sizeof line, from))
        if (line[strspn(line, " \t\r\n")] != '\0') memcpy(last, line, sizeof line);
}

static int start_shell(const char *command, int output, pid_t *pid)
{
    extern char **environ;
    char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)command, NULL};
    posix_spawn_file_actions_t actions;
    int code = posix_spawn_file_actions_init(&actions);
    if (code != 0) return code;
    code = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (code == 0) code = posix_spawn(pid, "/bin/sh", &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    return code;
}

msa_status srv_bench_command(const char *command, double ms[2], double *peak_mib, msa_error *err)
{
    int ends[2];
    int status = 0;
    pid_t pid = 0;
    char last[OUTPUT_LINE] = "";
    char *end = NULL;
    struct rusage use = {0};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return msa_fail(err, MSA_E_IO, "cannot make a pipe: %s", strerror(errno));
    const int code = start_shell(command, ends[1], &pid);
    (void)close(ends[1]);
    FILE *from = code == 0 ? fdopen(ends[0], "re") : NULL;
    if (from) {
        read_last_line(from, last);
        (void)fclose(from);
    } else {
        (void)close(ends[0]);
    }
    if (code != 0) return msa_fail(err, MSA_E_IO, "cannot start a shell: %s", strerror(code));
    while (wait4(pid, &status, 0, &use) < 0 && errno == EINTR)
        ;
    *peak_mib = (double)use.ru_maxrss / 1024.0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return msa_fail(err, MSA_E_PARSE, "the command of --beside failed: %.120s", command);
    ms[0] = strtod(last, &end);
    if (end == last || !isfinite(ms[0]) || ms[0] <= 0)
        return msa_fail(err, MSA_E_PARSE, "the command of --beside printed no milliseconds on its last line");
    if (sscanf(end, " ms, %lf of all cores", &ms[1]) != 1 || !(ms[1] > 0)) ms[1] = (double)NAN;
    return MSA_OK;
}
