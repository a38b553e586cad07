/* NIfTI images, label maps and series of volumes; niftilib wants a path with a name of its own. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/io/nifti.h"
#include "tests/fuzz/fuzz.h"

static char folder[] = "/tmp/fuzz-nifti-XXXXXX", path[sizeof folder + 8];
static int fd = -1;

static void leave(void)
{
    (void)unlink(path);
    (void)rmdir(folder);
}

/* A name for the bytes in memory. */
static void begin(void)
{
    char target[32];
    fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || mkdtemp(folder) == NULL) exit(2);
    (void)snprintf(path, sizeof path, "%s/a.nii", folder);
    (void)snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
    if (symlink(target, path) != 0 || atexit(leave) != 0) exit(2);
}

static void expect_whole(const msa_nifti *n, bool labels)
{
    const int64_t count = (int64_t)n->depth * n->rows * n->cols;
    if (count < 1 || (labels ? n->labels == NULL : n->voxels == NULL)) __builtin_trap();
    volatile float last = labels ? (float)n->labels[count - 1] : n->voxels[count - 1];
    (void)last;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    msa_error err = MSA_ERROR_INIT;
    int32_t volumes = 0;
    if (fd < 0) begin();
    if (ftruncate(fd, 0) != 0 || pwrite(fd, bytes, size, 0) != (ssize_t)size) return 0;
    for (int labels = 0; labels < 2; labels++) {
        MSA_AUTO(msa_nifti) n = NULL;
        err = (msa_error)MSA_ERROR_INIT;
        if (msa_nifti_read(&n, path, labels == 1, &err) == MSA_OK)
            expect_whole(n, labels == 1);
        else if (err.what[0] == '\0' || n != NULL)
            __builtin_trap();
    }
    if (msa_nifti_volumes(&volumes, path, NULL) != MSA_OK) return 0;
    if (volumes < 1) __builtin_trap();
    MSA_AUTO(msa_nifti) last = NULL;
    if (msa_nifti_read_volume(&last, path, volumes - 1, NULL) == MSA_OK) expect_whole(last, false);
    return 0;
}
