/* cmocka and what it needs first. */
#ifndef MSA_TESTS_UNIT_VOLUME_CM_H
#define MSA_TESTS_UNIT_VOLUME_CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Doubles; cmocka's own comparison is of floats. NaN fails. */
#define assert_near(got, want, tolerance)                                                                    \
    do {                                                                                                     \
        const double got_ = (got), want_ = (want), off_ = got_ < want_ ? want_ - got_ : got_ - want_;        \
        if (!(off_ <= (tolerance))) fail_msg("wanted %.12g, got %.12g", want_, got_);                        \
    } while (0)

#endif
