#include "engine/base/room.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

size_t msa_room_piece(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return bytes > SIZE_MAX - page ? SIZE_MAX : (bytes + page - 1) / page * page;
}

msa_status msa_room_reserve(msa_room *room, size_t size, msa_error *err)
{
    if (size == 0) return MSA_OK;
    void *base = size > SIZE_MAX / 4
                     ? MAP_FAILED
                     : mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return msa_fail(err, MSA_E_NOMEM, "no memory for a block of %zu bytes", size);
    *room = (msa_room){base, size};
    return MSA_OK;
}

void msa_room_release(msa_room *room)
{
    if (room->base != NULL) (void)munmap(room->base, room->size);
    *room = (msa_room){NULL, 0};
}

msa_status msa_room_open(void *piece, size_t bytes, msa_error *err)
{
    if (mprotect(piece, msa_room_piece(bytes), PROT_READ | PROT_WRITE) != 0)
        return msa_fail(err, MSA_E_NOMEM, "no memory for a block of %zu bytes", bytes);
    return MSA_OK;
}

void msa_room_shut(void *piece, size_t bytes)
{
    const size_t size = msa_room_piece(bytes);
    (void)madvise(piece, size, MADV_DONTNEED);
    (void)mprotect(piece, size, PROT_NONE);
}
