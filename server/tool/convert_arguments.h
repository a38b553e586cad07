/* The arguments of `msa convert`. */
#ifndef SRV_TOOL_CONVERT_ARGUMENTS_H
#define SRV_TOOL_CONVERT_ARGUMENTS_H

#include <stdbool.h>

#include "engine/convert.h"

typedef struct srv_convert_arguments {
    const char *in, *out;
    msa_convert_options options;   /* its settings are those below */
    msa_convert_setting *settings; /* heap */
    bool help;
} srv_convert_arguments;

/* Returns 0, or the exit code after a sentence. Clear it whatever it returns. */
int srv_convert_arguments_read(srv_convert_arguments *a, int argc, char **argv);
void srv_convert_arguments_clear(srv_convert_arguments *a);
int srv_convert_print_usage(void);

#endif
