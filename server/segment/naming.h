/* What rules say to the names and codes of objects. */
#ifndef SRV_SEGMENT_NAMING_H
#define SRV_SEGMENT_NAMING_H

#include "server/segment/objects.h"

/**
 * Objects that nobody named (label "Object", or "Object n" as readers of annotations invent it) get their
 * rule's default label, with a number behind it where several would be called the same. Those whose prompts
 * bring no finding get the code that the rule has for their label. An object's rule is that of the prompt it
 * begins with. Call it when objects stand as they are: labels decide which prompts make one object.
 */
void srv_objects_take_rules(srv_objects *o, const srv_segment_request *request);

#endif
