/* What a fuzz target is: one function that must survive any bytes. libFuzzer drives it in a build with
 * -Dfuzz=true (clang); replay.c drives it in every other build, over the corpus. */
#ifndef MSA_TESTS_FUZZ_FUZZ_H
#define MSA_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#endif
