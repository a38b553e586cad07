/* fuzz_NAME FILE|FOLDER...: gives each file to the target once, and each with its end cut off and with single
 * bits flipped. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

enum { CUTS = 32, FLIPS = 256, SIZE_MAX_BYTES = 1 << 22 };

static int runs;

/* A block of its own size: a sanitiser then sees a step beyond the end. */
static void run_copy(const uint8_t *bytes, size_t size, size_t flip)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) exit(2);
    memcpy(copy, bytes, size);
    if (flip < size) copy[flip] ^= (uint8_t)(1u << flip % 8);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = malloc(SIZE_MAX_BYTES);
    const size_t size = f != NULL && bytes != NULL ? fread(bytes, 1, SIZE_MAX_BYTES, f) : 0;
    if (f == NULL || bytes == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    (void)fclose(f);
    run_copy(bytes, size, size);
    for (size_t i = 0; i < CUTS; i++)
        run_copy(bytes, size * i / CUTS, size);
    for (size_t i = 0; i < FLIPS && size > 0; i++)
        run_copy(bytes, size, size * i / FLIPS + (i * 7919) % (size / FLIPS + 1));
    free(bytes);
    return 0;
}

static int run_folder(const char *path)
{
    char name[4096];
    int bad = 0;
    DIR *d = opendir(path);
    if (d == NULL) return run_file(path);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        struct stat st;
        (void)snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (stat(name, &st) == 0 && S_ISREG(st.st_mode)) bad |= run_file(name);
    }
    (void)closedir(d);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = argc < 2;
    for (int i = 1; i < argc; i++)
        bad |= run_folder(argv[i]);
    printf("%d inputs\n", runs);
    return bad || runs == 0;
}
