/* Memory that is given back and taken again at the same address: for what can be made anew. */
#ifndef MSA_ENGINE_BASE_ROOM_H
#define MSA_ENGINE_BASE_ROOM_H

#include <stddef.h>

#include "engine/base/error.h"

/* Addresses for so many bytes, without memory behind them. */
typedef struct msa_room {
    unsigned char *base; /* NULL: none */
    size_t size;
} msa_room;

/* What a piece of so many bytes takes of a room: pieces share no page. Saturates. */
size_t msa_room_piece(size_t bytes);
/* room: zeroed; size: the sum of its pieces. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_room_reserve(msa_room *room, size_t size, msa_error *err);
void msa_room_release(msa_room *room);

/* A piece gets memory: zeros, when it had none. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_room_open(void *piece, size_t bytes, msa_error *err);
/* Its memory goes back to the system; who reads it then is ended by a signal, not misled by zeros. */
void msa_room_shut(void *piece, size_t bytes);

#endif
