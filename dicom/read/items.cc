#include "dicom/read/items.h"

#include "dcmtk/dcmdata/dcsequen.h"

namespace dicom
{

std::vector<DcmItem *> items_of(DcmItem &item, const DcmTagKey &sequence)
{
    std::vector<DcmItem *> list;
    DcmSequenceOfItems *found = nullptr;
    if (item.findAndGetSequence(sequence, found).bad() || found == nullptr) return list;
    for (DcmObject *at = nullptr; (at = found->nextInContainer(at)) != nullptr;)
        if (auto *one = dynamic_cast<DcmItem *>(at)) list.push_back(one);
    return list;
}

DcmItem *first_of(DcmItem *item, const DcmTagKey &sequence)
{
    DcmItem *found = nullptr;
    if (item == nullptr || item->findAndGetSequenceItem(sequence, found, 0).bad()) return nullptr;
    return found;
}

} // namespace dicom
