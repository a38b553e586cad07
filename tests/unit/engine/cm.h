/* cmocka and what it needs first. */
#ifndef MSA_TESTS_UNIT_ENGINE_CM_H
#define MSA_TESTS_UNIT_ENGINE_CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
