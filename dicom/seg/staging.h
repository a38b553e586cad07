/* Private to dicom/: the files of one result, which are all in their folder or none of them. */
#ifndef DICOM_SEG_STAGING_H
#define DICOM_SEG_STAGING_H

#include <string>
#include <vector>

#include "engine/base/error.h"

namespace dicom
{
namespace seg
{

/* Files under construction: NAME.dcm, NAME-2.dcm, ... under other names until published; what is not is
 * removed. */
class staging
{
  public:
    staging(const char *dir, const char *stem) : dir_(dir), stem_(stem) {}
    ~staging();
    staging(const staging &) = delete;
    staging &operator=(const staging &) = delete;

    /* Path under which it is written; the last one added is name(). */
    std::string add(size_t number);
    const std::string &name() const
    {
        return pending_.back();
    }
    /* All renamed, and the folder synced. Errors: MSA_E_IO, MSA_E_BUSY. */
    msa_status publish(msa_error *err);

  private:
    std::string dir_, stem_;
    std::vector<std::string> pending_;
    std::string part(const std::string &name) const;
    msa_status sync_dir(msa_error *err) const;
};

} // namespace seg
} // namespace dicom
#endif
