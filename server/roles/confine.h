/* What a role gives up before it touches foreign bytes. */
#ifndef SRV_ROLES_CONFINE_H
#define SRV_ROLES_CONFINE_H

#include "engine/base/error.h"

/**
 * No core dump, no new privileges, at most `memory_mib` more of address space than the process has now, 64
 * descriptors, death with core, and a last alarm after `lifetime_s` (0: none) for whatever the deadlines
 * inside should miss (invariant 5). Errors: MSA_E_INTERNAL, when the kernel refuses one of these.
 */
MSA_NODISCARD msa_status srv_role_confine(int memory_mib, unsigned lifetime_s, msa_error *err);

#endif
