/* What shared test code asks of Criterion, without it: an assertion that does not hold says where and aborts, as a
 * fuzzer wants it. */
#ifndef PSBROKER_TESTS_PLAIN_CRITERION_H
#define PSBROKER_TESTS_PLAIN_CRITERION_H

#include <stdio.h>
#include <stdlib.h>

#define cr_assert(condition, ...)                                                                            \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s:", __FILE__, __LINE__, #condition);                                   \
            fprintf(stderr, " " __VA_ARGS__);                                                                \
            fputc('\n', stderr);                                                                             \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)
#define cr_assert_not(condition, ...) cr_assert(!(condition), ##__VA_ARGS__)
#define cr_assert_null(pointer, ...) cr_assert((pointer) == NULL, ##__VA_ARGS__)
#define cr_assert_not_null(pointer, ...) cr_assert((pointer) != NULL, ##__VA_ARGS__)
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b), ##__VA_ARGS__)
#define cr_assert_lt(a, b, ...) cr_assert((a) < (b), ##__VA_ARGS__)
#define cr_assert_gt(a, b, ...) cr_assert((a) > (b), ##__VA_ARGS__)

#endif
