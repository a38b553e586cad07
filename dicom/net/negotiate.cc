#include "dicom/net/negotiate.h"

#include "dcmtk/dcmdata/dcuid.h"
#include "dcmtk/dcmnet/dul.h"
#include "dcmtk/dcmnet/lst.h"

#include <cstring>
#include <set>
#include <vector>

#include "dicom/header.h"
#include "dicom/net/file_meta.h"
#include "dicom/read/syntax.h"

namespace dicom
{

namespace
{

constexpr size_t UNCOMPRESSED = 2; /* of the syntaxes that dicom/read decodes, the order of these decides; of
                                      the others, the sender's */

std::string name_of(const char *uid)
{
    const char *name = dcmFindNameOfUID(uid);
    if (name != nullptr) return name;
    return is_uid(uid) ? uid : "a malformed UID";
}

/* The syntaxes that were offered in vain, in words. */
std::string list(const char *const *syntaxes, int n)
{
    std::string text;
    for (int i = 0; i < n && text.size() < 90; i++)
        text += (i > 0 ? ", " : "") + name_of(syntaxes[i]);
    return n == 0 ? "no transfer syntax" : text.substr(0, 110);
}

/**
 * The nodes of one of DCMTK's lists. Collected first: the list has one cursor, which the calls in the loop
 * move. DCMTK's own view of a context (T_ASC_PresentationContext) holds 50 transfer syntaxes, and a context
 * with more is neither accepted nor refused by it.
 */
template <typename Node> std::vector<Node *> nodes(LST_HEAD *list)
{
    std::vector<Node *> found;
    if (list == nullptr) return found;
    void *node = LST_Head(&list);
    if (node != nullptr) (void)LST_Position(&list, node);
    for (; node != nullptr; node = LST_Next(&list))
        found.push_back(static_cast<Node *>(node));
    return found;
}

bool is_taken(const char *uid)
{
    return std::strcmp(uid, UID_VerificationSOPClass) == 0 || dicom_is_image_class(uid) ||
           dicom_is_annotation_class(uid);
}

/* What the service does take, read off the same predicates that decide. */
std::string taken_in_words()
{
    static const struct {
        const char *uid, *words;
    } images[] = {{UID_CTImageStorage, "CT"},
                  {UID_MRImageStorage, "MR"},
                  {UID_EnhancedCTImageStorage, "Enhanced CT"},
                  {UID_EnhancedMRImageStorage, "Enhanced MR"},
                  {UID_PositronEmissionTomographyImageStorage, "PET"}};
    std::string text;
    for (const auto &image : images)
        if (dicom_is_image_class(image.uid))
            text += (text.empty() ? "msad takes " : ", ") + std::string(image.words);
    return text + " images and SR, presentation state, RT structure set and segmentation objects; take this "
                  "class off "
                  "the sender's list";
}

} // namespace

const char *choose_transfer_syntax(const char *const *proposed, int n)
{
    for (size_t d = 0; d < UNCOMPRESSED; d++)
        for (int i = 0; i < n; i++)
            if (std::strcmp(proposed[i], syntaxes[d].uid) == 0) return syntaxes[d].uid;
    for (int i = 0; i < n; i++)
        if (const Syntax *syntax = find_syntax(proposed[i])) return syntax->uid;
    return nullptr;
}

int negotiate(T_ASC_Parameters *params, const std::function<void(const refusal &)> &on_refusal)
{
    std::set<std::string> told;
    int accepted = 0;
    for (DUL_PRESENTATIONCONTEXT *pc :
         nodes<DUL_PRESENTATIONCONTEXT>(params->DULparams.requestedPresentationContext)) {
        std::vector<const char *> proposed;
        for (const DUL_TRANSFERSYNTAX *ts : nodes<DUL_TRANSFERSYNTAX>(pc->proposedTransferSyntax))
            proposed.push_back(ts->transferSyntax);
        const int n = int(proposed.size());
        const bool taken = is_taken(pc->abstractSyntax);
        const char *chosen = taken ? choose_transfer_syntax(proposed.data(), n) : nullptr;
        if (chosen != nullptr) {
            if (ASC_acceptPresentationContext(params, pc->presentationContextID, chosen).good()) accepted++;
            continue;
        }
        (void)ASC_refusePresentationContext(params, pc->presentationContextID,
                                            taken ? ASC_P_TRANSFERSYNTAXESNOTSUPPORTED
                                                  : ASC_P_ABSTRACTSYNTAXNOTSUPPORTED);
        refusal r;
        r.what = name_of(pc->abstractSyntax);
        r.reason =
            taken ? list(proposed.data(), n) + " is not decoded; let the sender use Explicit VR Little Endian"
                  : taken_in_words();
        if (told.insert(r.what + r.reason).second) on_refusal(r);
    }
    return accepted;
}

} // namespace dicom
