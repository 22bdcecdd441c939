/* Labelled points of the program at which a test can have it killed, as if by `kill -9`. Only in a build with the
 * option `failpoints`; any other holds nothing of them, not even the names.
 *
 * PSBROKER_FAILPOINT=name:n in the environment names the point and which passing of it is the last, from 1 on. Any
 * thread. */
#ifndef PSBROKER_FAILPOINT_H
#define PSBROKER_FAILPOINT_H

#ifdef PSBROKER_FAILPOINTS
#define FAILPOINT(name) failpoint_pass("failpoint:" #name)
void failpoint_pass(const char *label);
#else
#define FAILPOINT(name) ((void)0)
#endif

#endif
