/**
 * What a role can still ask of the kernel once it is set up: the threads that compute, its own socket, and
 * files below a few folders. Nothing else, whatever a hostile file, association or answer makes of the
 * process (threats T2, T7).
 *
 * System calls go by allow-lists (seccomp): what is not listed ends the role, which says so to core with the
 * number of the call (SRV_IPC_FORBIDDEN); what libraries merely try fails with an error. Files go by
 * Landlock, where the kernel has it (5.19 and later); elsewhere the log says that only the permissions of
 * files keep folders apart.
 */
#ifndef SRV_ROLES_SANDBOX_H
#define SRV_ROLES_SANDBOX_H

#include <stdbool.h>

#include "engine/base/error.h"
#include "server/core/ipc.h"

/* Exit status of a role that the sandbox has ended, after its message. */
#define SRV_EXIT_FORBIDDEN 97

/**
 * Each enters the sandbox, for good: once, before the process has a second thread, with everything open or
 * read that the role needs from elsewhere (DCMTK's dictionary, character sets, keys). Errors: MSA_E_INTERNAL;
 * the role is then not to go on.
 *
 * receive: writes in incoming/, moves files into blobs/, talks on the connections it has; opens no others.
 *
 * work: with index_only, reads blobs/ and incoming/; else reads blobs/ and the model's files, writes in jobs/
 * and embeddings/, starts threads. No socket but core's.
 *
 * send: reads `blob` ("": none) and the files of to->tls; connects to to->port at any address (the port where
 * Landlock knows of ports: Linux 6.7).
 */
MSA_NODISCARD msa_status srv_sandbox_receive(const char *storage_path, msa_error *err);
MSA_NODISCARD msa_status srv_sandbox_work(const srv_ipc_work_start *start, const srv_rule *rules,
                                          msa_error *err);
MSA_NODISCARD msa_status srv_sandbox_send(const char *blob, const dicom_destination *to, msa_error *err);

/* For debugging: those above do nothing in this process from here on. */
void srv_sandbox_disable(void);
/* NULL, or why this build has no sandbox: a sanitizer, or qemu-user, which has no seccomp. */
const char *srv_sandbox_missing(void);

#endif
