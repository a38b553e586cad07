/* Locals that own something free themselves when their scope ends. C only. */
#ifndef MSA_ENGINE_BASE_CLEANUP_H
#define MSA_ENGINE_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define MSA_DEFINE_AUTO(type, free_fn)                                                                       \
    static inline void type##_auto_free(type **p) { free_fn(*p); }                                           \
    struct type##_needs_semicolon
#define MSA_AUTO(type) __attribute__((cleanup(type##_auto_free))) type *
#define MSA_STEAL(p)                                                                                         \
    (__extension__({                                                                                         \
        __typeof__(p) stolen_ = (p);                                                                         \
        (p) = NULL;                                                                                          \
        stolen_;                                                                                             \
    }))

/* MSA_AUTO_FREE char *s = NULL;   freed with free() */
static inline void msa_auto_free_ptr(void *p) { free(*(void **)p); }
#define MSA_AUTO_FREE __attribute__((cleanup(msa_auto_free_ptr)))

/* MSA_AUTO_FD int fd = -1;        closed when >= 0; a writer checks close() itself */
static inline void msa_auto_close_fd(int *fd)
{
    if (*fd >= 0) (void)close(*fd);
}
#define MSA_AUTO_FD __attribute__((cleanup(msa_auto_close_fd)))

#endif
