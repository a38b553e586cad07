/* The files of the dashboard, as scripts/page_to_c.py puts them into the program. */
#ifndef SRV_HTTP_PAGE_H
#define SRV_HTTP_PAGE_H

#include <stddef.h>

typedef struct srv_page_file {
    const char *path, *media;
    const unsigned char *data;
    size_t size;
    const char *sha256;
} srv_page_file;

extern const srv_page_file srv_page_files[];

#endif
