#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "server/tool/tool.h"

enum { BAR = 30, SHOW_MS = 100, PLAIN_STEP = 10 /* percent between plain lines */ };

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void srv_progress_begin(srv_progress *p, const char *what)
{
    *p = (srv_progress){
        .what = what, .began_ms = now_ms(), .shown_percent = -1, .terminal = isatty(STDERR_FILENO)};
}

static void show_bar(const srv_progress *p, int percent, int32_t done, int32_t total, double seconds)
{
    char bar[BAR + 1];
    for (int i = 0; i < BAR; i++)
        bar[i] = i * 100 < percent * BAR ? '#' : '.';
    bar[BAR] = '\0';
    (void)fprintf(stderr, "\r%s [%s] %3d%%  slice %d of %d  %.0f s\033[K", p->what, bar, percent, done, total,
                  seconds);
    (void)fflush(stderr);
}

void srv_progress_show(void *ctx, int32_t done, int32_t total)
{
    srv_progress *p = ctx;
    const int64_t now = now_ms();
    const int percent = total > 0 ? (int)((int64_t)done * 100 / total) : 100;
    const double seconds = (double)(now - p->began_ms) / 1000;
    if (p->terminal) {
        if (p->shown_percent >= 0 && done < total && now - p->shown_ms < SHOW_MS) return;
        show_bar(p, percent, done, total, seconds);
    } else {
        if (p->shown_percent >= 0 && percent < p->shown_percent + PLAIN_STEP && done < total) return;
        if (percent == p->shown_percent) return;
        (void)fprintf(stderr, "%s: %d %%, slice %d of %d, %.1f s\n", p->what, percent, done, total, seconds);
    }
    p->shown_percent = percent;
    p->shown_ms = now;
}

void srv_progress_drop(srv_progress *p)
{
    if (p->terminal && p->shown_percent >= 0) (void)fputs("\r\033[K", stderr);
    p->shown_percent = -1;
}

void srv_progress_end(srv_progress *p, int32_t slices)
{
    const double seconds = (double)(now_ms() - p->began_ms) / 1000;
    srv_progress_drop(p);
    (void)fprintf(stderr, "%s: %d slices in %.1f s\n", p->what, slices, seconds);
}
